import type { Message, OffsetRange } from '../gen/sluice/v1/message_pb.js';

/**
 * The partition of a key: 32-bit FNV-1a, then the finalizer of MurmurHash3, modulo the partitions. A part of the
 * protocol: broker and clients agree on it for ever.
 */
export function partitionOfKey(key: Uint8Array, partitionCount: number): number {
  let hash = 0x811c9dc5;
  for (const byte of key) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) % partitionCount;
}

/** Where a message is. */
export interface Place {
  readonly partition: number;
  readonly offset: bigint;
}

/**
 * Which message of a batch is where, from the ranges of its receipt: in each partition they stand in their order.
 * Messages without a key stay together, in the partition whose range is longer than its keys explain. Undefined where
 * the ranges contradict the number of partitions: it has grown.
 */
export function placesOf(
  messages: readonly Message[],
  ranges: readonly OffsetRange[],
  partitionCount: number,
): Place[] | undefined {
  const [only] = ranges;
  if (ranges.length === 1 && only !== undefined) {
    if (only.lastOffset - only.firstOffset + 1n !== BigInt(messages.length)) return undefined;
    return messages.map((_, i) => ({ partition: only.partition, offset: only.firstOffset + BigInt(i) }));
  }
  const partitions = messages.map(({ key }) => (key.length === 0 ? -1 : partitionOfKey(key, partitionCount)));
  const left = new Map<number, bigint>();
  for (const { partition, firstOffset, lastOffset } of ranges) {
    left.set(partition, (left.get(partition) ?? 0n) + lastOffset - firstOffset + 1n);
  }
  for (const partition of partitions) {
    if (partition >= 0) left.set(partition, (left.get(partition) ?? 0n) - 1n);
  }
  const keylessCount = partitions.filter((partition) => partition < 0).length;
  const more = [...left].filter(([, count]) => count !== 0n);
  const keyless = more[0]?.[0];
  const isExplained =
    keylessCount === 0 ? more.length === 0 : more.length === 1 && more[0]![1] === BigInt(keylessCount);
  if (!isExplained) return undefined;
  const next = new Map<number, { index: number; offset: bigint }>();
  return partitions.map((routed) => {
    const partition = routed < 0 ? keyless! : routed;
    const own = ranges.filter((range) => range.partition === partition);
    const at = next.get(partition) ?? { index: 0, offset: own[0]!.firstOffset };
    const place = { partition, offset: at.offset };
    const isLast = at.offset === own[at.index]!.lastOffset;
    next.set(
      partition,
      isLast && at.index + 1 < own.length
        ? { index: at.index + 1, offset: own[at.index + 1]!.firstOffset }
        : { index: at.index, offset: at.offset + 1n },
    );
    return place;
  });
}
