import type { OffsetRange } from '../gen/sluice/v1/message_pb.js';

/**
 * The hash of a key: 32-bit FNV-1a, then the finalizer of MurmurHash3; the partition is the hash modulo the number of
 * partitions. The hash is a part of the protocol and must not change.
 */
export function hashOfKey(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The place of a message. */
export interface Place {
  readonly partition: number;
  readonly offset: bigint;
}

/**
 * The places of the messages of a batch, from the hashes of their keys and the ranges of the receipt. In each partition
 * the messages are in their order. Messages without a key are together, in the partition that has more messages than
 * its keys explain. Undefined if the ranges contradict the number of partitions, because it has grown.
 */
export function placesOf(
  keyHashes: readonly (number | undefined)[],
  ranges: readonly OffsetRange[],
  partitionCount: number,
): Place[] | undefined {
  const [only] = ranges;
  if (ranges.length === 1 && only !== undefined) {
    if (lengthOf(only) !== keyHashes.length) return undefined;
    return keyHashes.map((_, i) => ({ partition: only.partition, offset: only.firstOffset + BigInt(i) }));
  }
  const partitions = keyHashes.map((hash) => (hash === undefined ? undefined : hash % partitionCount));
  const keyless = partitionOfKeyless(partitions, ranges);
  if (keyless === undefined) return undefined;
  const offsets = new Map<number, Iterator<bigint>>();
  return partitions.map((partition = keyless.partition) => {
    let next = offsets.get(partition);
    if (next === undefined) {
      next = offsetsIn(ranges.filter((range) => range.partition === partition));
      offsets.set(partition, next);
    }
    return { partition, offset: next.next().value };
  });
}

/** The partition of the messages without a key; undefined if no partition explains the ranges. */
function partitionOfKeyless(
  partitions: readonly (number | undefined)[],
  ranges: readonly OffsetRange[],
): { readonly partition: number } | undefined {
  const left = new Map<number, number>();
  for (const range of ranges) left.set(range.partition, (left.get(range.partition) ?? 0) + lengthOf(range));
  let keylessCount = 0;
  for (const partition of partitions) {
    if (partition === undefined) keylessCount++;
    else left.set(partition, (left.get(partition) ?? 0) - 1);
  }
  const unexplained = [...left].filter(([, count]) => count !== 0);
  const [first] = unexplained;
  if (first === undefined) return keylessCount === 0 ? { partition: 0 } : undefined;
  const [partition, count] = first;
  return unexplained.length === 1 && count === keylessCount ? { partition } : undefined;
}

function* offsetsIn(ranges: readonly OffsetRange[]): Generator<bigint, bigint> {
  for (const { firstOffset, lastOffset } of ranges) {
    for (let offset = firstOffset; offset <= lastOffset; offset++) yield offset;
  }
  throw new RangeError('the ranges were shorter than counted');
}

function lengthOf({ firstOffset, lastOffset }: OffsetRange): number {
  return Number(lastOffset - firstOffset) + 1;
}
