import { readUint64, writeUint64 } from './bytes.js';
import type { KeyRange } from './engine.js';

/**
 * Every key of the store. Numbers are big-endian, so that keys sort by them. Ids of topics and subscriptions stay
 * below 2^32 - 1: the end of a range is the key of the next id.
 */

// --- Column `partition-NNN`: topic id u32 · last offset u64 ---------------------------------------------------

/**
 * The key of the record that *ends* with this offset: the first key at or above `logKey(t, o)` contains offset o.
 */
export function logKey(topicId: number, lastOffset: number): Buffer {
  const key = Buffer.allocUnsafe(12);
  writeUint64(key, lastOffset, key.writeUInt32BE(topicId, 0));
  return key;
}

export function lastOffsetOfLogKey(key: Buffer): number {
  return readUint64(key, 4);
}

/** Records that contain `fromOffset` or a later offset. */
export function logRange(topicId: number, fromOffset: number): KeyRange {
  return { gte: logKey(topicId, fromOffset), lt: logKey(topicId + 1, 0) };
}

/** Records that contain `fromOffset` or a later offset, and end before `untilOffset`. */
export function logRangeUntil(topicId: number, fromOffset: number, untilOffset: number): KeyRange {
  return { gte: logKey(topicId, fromOffset), lt: logKey(topicId, untilOffset) };
}

/** Records that end below `offset`. */
export function logRangeBelow(topicId: number, offset: number): KeyRange {
  return { gte: logKey(topicId, 0), lt: logKey(topicId, offset) };
}

// --- Column `cursors`: subscription id u32 · kind u8 · rest by kind -------------------------------------------
//     cursor: partition u16
//     dead letter: partition u16 · offset u64
//     redrive: id of the dead-letter topic u32 · its partition u16

const cursorKind = 1;
const deadLetterKind = 2;
const redriveKind = 3;

export function cursorKey(subscriptionId: number, partition: number): Buffer {
  const key = Buffer.allocUnsafe(7);
  key.writeUInt16BE(partition, key.writeUInt8(cursorKind, key.writeUInt32BE(subscriptionId, 0)));
  return key;
}

export function deadLetterKey(subscriptionId: number, partition: number, offset: number): Buffer {
  const key = Buffer.allocUnsafe(15);
  const at = key.writeUInt16BE(
    partition,
    key.writeUInt8(deadLetterKind, key.writeUInt32BE(subscriptionId, 0)),
  );
  writeUint64(key, offset, at);
  return key;
}

export function deadLetterRange(
  subscriptionId: number,
  partition: number,
  first: number,
  last: number,
): KeyRange {
  return {
    gte: deadLetterKey(subscriptionId, partition, first),
    lt: deadLetterKey(subscriptionId, partition, last + 1),
  };
}

export function offsetOfDeadLetterKey(key: Buffer): number {
  return readUint64(key, 7);
}

export function redriveKey(subscriptionId: number, deadLetterTopicId: number, partition: number): Buffer {
  const key = Buffer.allocUnsafe(11);
  const at = key.writeUInt8(redriveKind, key.writeUInt32BE(subscriptionId, 0));
  key.writeUInt16BE(partition, key.writeUInt32BE(deadLetterTopicId, at));
  return key;
}

export function partitionOfRedriveKey(key: Buffer): number {
  return key.readUInt16BE(9);
}

export function redriveRange(subscriptionId: number, deadLetterTopicId: number): KeyRange {
  return {
    gte: redriveKey(subscriptionId, deadLetterTopicId, 0),
    lt: redriveKey(subscriptionId, deadLetterTopicId + 1, 0),
  };
}

/** What a key of a note says; undefined for the key of a cursor. */
export type NotePlace =
  | {
      readonly kind: 'dead-letter';
      readonly subscriptionId: number;
      readonly partition: number;
      readonly offset: number;
    }
  | { readonly kind: 'redrive'; readonly deadLetterTopicId: number; readonly partition: number };

export function placeOfNote(key: Buffer): NotePlace | undefined {
  switch (key[4]) {
    case deadLetterKind: {
      const subscriptionId = key.readUInt32BE(0);
      const partition = key.readUInt16BE(5);
      return { kind: 'dead-letter', subscriptionId, partition, offset: offsetOfDeadLetterKey(key) };
    }
    case redriveKind:
      return {
        kind: 'redrive',
        deadLetterTopicId: key.readUInt32BE(5),
        partition: partitionOfRedriveKey(key),
      };
    default:
      return undefined;
  }
}

/** Everything of one subscription. */
export function subscriptionRange(subscriptionId: number): KeyRange {
  return { gte: subscriptionKey(subscriptionId, 0), lt: subscriptionKey(subscriptionId + 1, 0) };
}

function subscriptionKey(subscriptionId: number, kind: number): Buffer {
  const key = Buffer.allocUnsafe(5);
  key.writeUInt8(kind, key.writeUInt32BE(subscriptionId, 0));
  return key;
}

// --- Column `producers`: topic id u32 · producer id -----------------------------------------------------------

export function producerKey(topicId: number, producerId: string): Buffer {
  const key = Buffer.allocUnsafe(4 + Buffer.byteLength(producerId));
  key.write(producerId, key.writeUInt32BE(topicId, 0));
  return key;
}

export function producerRange(topicId: number): KeyRange {
  return { gte: producerKey(topicId, ''), lt: producerKey(topicId + 1, '') };
}

// --- Column `default`, the metadata: kind u8 · id ----------------------------------------------------------------

export const metadataKind = {
  counters: 1,
  topic: 2,
  subscription: 3,
  /** The extent of a partition: topic id u32 · partition u16. */
  extent: 4,
  /** A deleted topic whose messages may still exist. */
  deletedTopic: 5,
  deletedSubscription: 6,
  /** Format and id of the store: format u32 · id 16 bytes. */
  store: 7,
  /** The progress of a migration; absent when it is finished. */
  migration: 8,
} as const;

export type MetadataKind = (typeof metadataKind)[keyof typeof metadataKind];

export const countersKey = Buffer.of(metadataKind.counters);
export const storeKey = Buffer.of(metadataKind.store);
export const migrationKey = Buffer.of(metadataKind.migration);

export function metadataKey(
  kind:
    | typeof metadataKind.topic
    | typeof metadataKind.subscription
    | typeof metadataKind.deletedTopic
    | typeof metadataKind.deletedSubscription,
  id: number,
): Buffer {
  const key = Buffer.allocUnsafe(5);
  key.writeUInt32BE(id, key.writeUInt8(kind, 0));
  return key;
}

export function extentKey(topicId: number, partition: number): Buffer {
  const key = Buffer.allocUnsafe(7);
  key.writeUInt16BE(partition, key.writeUInt32BE(topicId, key.writeUInt8(metadataKind.extent, 0)));
  return key;
}

export function idOfMetadataKey(key: Buffer): number {
  return key.readUInt32BE(1);
}

export function partitionOfExtentKey(key: Buffer): number {
  return key.readUInt16BE(5);
}

export const metadataRange: KeyRange = { gte: Buffer.of(0), lt: Buffer.of(0xff) };

/** Every key of a column: keys are shorter than this, or begin with lower bytes. */
export const everything: KeyRange = { gte: Buffer.of(0), lt: Buffer.alloc(8, 0xff) };

/** The smallest key above this one. */
export function keyBehind(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.of(0)]);
}

export function extentRange(topicId: number): KeyRange {
  return { gte: extentKey(topicId, 0), lt: extentKey(topicId + 1, 0) };
}
