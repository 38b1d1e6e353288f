/**
 * The partition of a message whose producer does not choose one.
 *
 * The hash is part of the format: brokers and clients must always agree on it. It is 32-bit FNV-1a over the bytes
 * of the key (offset basis 2166136261, prime 16777619), then the finalizer of MurmurHash3 (x ^= x>>>16, x *=
 * 0x85ebca6b, x ^= x>>>13, x *= 0xc2b2ae35, x ^= x>>>16), because FNV alone leaves the low bits of short keys
 * uneven. The partition is the hash modulo the partition count.
 */

/** The hash of `bytes[from]` up to `bytes[to - 1]`: an unsigned 32-bit number. */
export function hashKey(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let i = from; i < to; i += 1) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The partition of the key `bytes[from]` up to `bytes[to - 1]`. */
export function partitionOfKey(bytes: Uint8Array, from: number, to: number, partitionCount: number): number {
  return hashKey(bytes, from, to) % partitionCount;
}

/**
 * The ordering key: 0 for a message without a key, otherwise the hash, where 0 becomes 1. Two keys with the same
 * hash are kept in order with each other, which does no harm.
 */
export function orderingKey(bytes: Uint8Array, from: number, to: number): number {
  return from === to ? 0 : hashKey(bytes, from, to) || 1;
}

/** Spreads messages without a key: a batch goes to one partition, the next batch to the next one. */
export class Spreader {
  #next: number;

  /** Different starts keep producers from visiting the partitions in step. */
  constructor(start = 0) {
    this.#next = start;
  }

  /** The partition of the next batch. */
  next(partitionCount: number): number {
    const partition = this.#next % partitionCount;
    this.#next = partition + 1;
    return partition;
  }
}
