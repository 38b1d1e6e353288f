import { invariant } from '../base/invariant.js';
import { messagesTag } from './fields.js';

/**
 * Encoded `messages` fields as they are in requests, records and deliveries: tag, length, message, without gaps.
 * The store never reads the message itself, only its length.
 */

/** The end of the entry that begins at `at`. */
export function entryEnd(bytes: Uint8Array, at: number): number {
  invariant(bytes[at] === messagesTag, `no message entry begins at byte ${at} of ${bytes.length}`);
  let length = 0;
  let scale = 1;
  for (let index = at + 1; ; index++) {
    const byte = bytes[index];
    invariant(byte !== undefined && scale <= 2 ** 28, 'the length of a message entry is malformed');
    length += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte >= 0x80) continue;
    const end = index + 1 + length;
    invariant(end <= bytes.length, 'a message entry is cut off');
    return end;
  }
}

/** The end of each of `count` entries. Together they must fill `bytes` exactly. */
export function entryEnds(bytes: Uint8Array, count: number): Uint32Array {
  const ends = new Uint32Array(count);
  let at = 0;
  for (let index = 0; index < count; index++) {
    at = entryEnd(bytes, at);
    ends[index] = at;
  }
  invariant(at === bytes.length, `${count} message entries end at byte ${at} of ${bytes.length}`);
  return ends;
}

/** The message inside an entry, without tag and length. Shares the memory of the entry. */
export function messageOf(entry: Uint8Array): Uint8Array {
  let start = 1;
  while (entry[start]! >= 0x80) start++;
  invariant(entry[0] === messagesTag, 'not an encoded message field');
  return entry.subarray(start + 1);
}
