import { fromBinary } from '@bufbuild/protobuf';
import type { PublishBatch } from '../../src/broker/types.js';
import { keyTag, messagesTag, payloadTag } from '../../src/envelope/fields.js';
import { MessageRunSchema } from '../../src/gen/sluice/v1/message_pb.js';

/** A message as its producer made it. */
export interface Draft {
  /** Unique in a run. */
  readonly id: string;
  readonly key: string;
  /** Bytes of its payload beside the id. */
  readonly padding: number;
}

/** Encodes small messages (every length fits one byte), noting where each and its key stand. */
export function encodeBatch(drafts: readonly Draft[]): Pick<PublishBatch, 'source' | 'bounds'> {
  const bytes: number[] = [];
  const bounds: number[] = [];
  for (const { id, key, padding } of drafts) {
    const from = bytes.length;
    const payload = [...Buffer.from(id + '.'.repeat(padding))];
    const body = [payloadTag, payload.length, ...payload];
    if (key !== '') body.unshift(keyTag, key.length, ...Buffer.from(key));
    bytes.push(messagesTag, body.length, ...body);
    const keyFrom = from + (key === '' ? 0 : 4);
    bounds.push(from, bytes.length, keyFrom, keyFrom + key.length);
  }
  return { source: Uint8Array.from(bytes), bounds };
}

/** What an encoded `messages` field says: decoded by the generated code, not by what wrote it. */
export function decodeEntry(entry: Uint8Array): { id: string; key: string; headers: Record<string, string> } {
  const { key, payload, headers } = fromBinary(MessageRunSchema, entry).messages[0]!;
  return {
    id: Buffer.from(payload).toString().replace(/\.*$/, ''),
    key: Buffer.from(key).toString(),
    headers,
  };
}

/** The entries of an append, one by one. */
export function splitEntries(chunks: readonly Uint8Array[]): Buffer[] {
  const bytes = Buffer.concat(chunks);
  const entries: Buffer[] = [];
  for (let from = 0; from < bytes.length; ) {
    const { length, headerLength } = lengthAt(bytes, from + 1);
    const to = from + 1 + headerLength + length;
    entries.push(bytes.subarray(from, to));
    from = to;
  }
  return entries;
}

/** A varint of one or two bytes. */
function lengthAt(bytes: Buffer, at: number): { length: number; headerLength: number } {
  const low = bytes[at]!;
  if (low < 0x80) return { length: low, headerLength: 1 };
  return { length: (low & 0x7f) | (bytes[at + 1]! << 7), headerLength: 2 };
}
