import { DamagedRecord, lastOffsetOfRecord, readRecord } from '../codec/record.js';
import { unseal } from '../codec/sealed-value.js';
import { logKey } from '../engine/keys.js';

/**
 * An uncompressed data block of a RocksDB table: entries, then the positions of the entries that begin an interval. The
 * checksum covers the whole block, so RocksDB returns nothing from a block with one changed bit. The log records in it
 * have their own checksums, which show the ones that are still whole. Little-endian:
 *
 *     for each entry:     shared varint · unshared varint · value length varint · unshared bytes of the key · value
 *     for each interval:  u32, where its first entry begins, which shares nothing
 *     number of intervals u32
 *
 * `shared`: how many bytes the key shares with the key before it. https://github.com/facebook/rocksdb/blob/main/table/block_based/block_builder.cc
 */

/** The key of a log record, followed by RocksDB's sequence number and kind. */
const internalKeyBytes = 12 + 8;

/** The whole records of a partition of a topic, key and value, in the order of the block. */
export function wholeRecordsOf(block: Buffer, topicId: number, partition: number): [Buffer, Buffer][] {
  return wholeValues(block, internalKeyBytes, (value) => wholeRecord(value, topicId, partition));
}

/** The small record of this key, without its checksum, which covers the key as well; undefined if it is not whole. */
export function wholeSealedValueOf(block: Buffer, key: Buffer): Buffer | undefined {
  return wholeValues(block, undefined, (value) => unsealed(key, value))[0];
}

/** What `read` makes of the values of the block, without what it makes undefined. */
function wholeValues<T>(
  block: Buffer,
  keyBytes: number | undefined,
  read: (value: Buffer) => T | undefined,
): T[] {
  const found: T[] = [];
  const starts = startsOfIntervals(block);
  for (let at: number | undefined = 0; at !== undefined; ) {
    const from: number = at;
    const entry = entryAt(block, from, keyBytes);
    const whole = entry && read(entry.value);
    if (whole !== undefined) found.push(whole);
    const nextStart = starts.find((start) => start > from);
    // An entry must not reach into the next interval: if it does, its lengths are wrong.
    const isBroken =
      entry === undefined || (whole === undefined && nextStart !== undefined && entry.end > nextStart);
    at = isBroken ? nextStart : entry.end;
  }
  return found;
}

/** Ascending. Empty if the list is damaged. */
function startsOfIntervals(block: Buffer): number[] {
  if (block.length < 4) return [];
  const count = block.readUInt32LE(block.length - 4);
  const end = block.length - 4 - 4 * count;
  if (end <= 0) return [];
  return Array.from({ length: count }, (_, index) => block.readUInt32LE(end + 4 * index)).sort(
    (a, b) => a - b,
  );
}

/** `keyBytes`: the length of every key, if it is known. */
function entryAt(
  block: Buffer,
  from: number,
  keyBytes: number | undefined,
): { value: Buffer; end: number } | undefined {
  let at = from;
  const lengths: number[] = [];
  for (let field = 0; field < 3; field++) {
    let length = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = block[at++];
      if (byte === undefined || scale > 2 ** 28) return undefined;
      length += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    lengths.push(length);
  }
  const [shared = 0, unshared = 0, valueBytes = 0] = lengths;
  const valueAt = at + unshared;
  const end = valueAt + valueBytes;
  if ((keyBytes !== undefined && shared + unshared !== keyBytes) || end > block.length) return undefined;
  return { value: block.subarray(valueAt, end), end };
}

/** The key is derived from the value, so that a damaged key affects no entries that share bytes with it. */
function wholeRecord(value: Buffer, topicId: number, partition: number): [Buffer, Buffer] | undefined {
  const lastOffset = lastOffsetOfRecord(value);
  if (lastOffset === undefined) return undefined;
  const key = logKey(topicId, lastOffset);
  try {
    readRecord(key, value, partition);
    return [key, value];
  } catch (error) {
    if (error instanceof DamagedRecord) return undefined;
    throw error;
  }
}

function unsealed(key: Buffer, value: Buffer): Buffer | undefined {
  try {
    return unseal(key, value);
  } catch (error) {
    if (error instanceof DamagedRecord) return undefined;
    throw error;
  }
}
