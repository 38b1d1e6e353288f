import { SluiceError } from '../../base/errors.js';
import { type Extent, emptyExtent } from '../codec/extent.js';
import { DamagedOffsets } from './damaged-offsets.js';
import { TailSegment } from './tail.js';

/**
 * One partition in memory. It has three ends: of assigned offsets, of offsets in rounds, and of committed offsets.
 */
export class PartitionLog {
  readonly topicId: number;
  readonly partition: number;
  /** Moves up with retention. */
  firstOffset: number;
  firstPosition: number;
  /** The offset of the next append. Never assigned twice. */
  nextOffset: number;
  /** The first offset of the next round's records. */
  plannedOffset: number;
  plannedPosition: number;
  /** One past the last committed message. */
  endOffset: number;
  endPosition: number;
  /** Everything below is synced. */
  syncedOffset: number;
  /** The publish time of the newest planned round. */
  lastPublishTimeMs: number;
  clockSteps: readonly number[];
  /** Readers that still hold the log learn of the deletion with their next read. */
  isDeleted = false;
  readonly tail = new TailSegment();
  readonly damage = new DamagedOffsets();

  constructor(topicId: number, partition: number, extent: Extent) {
    this.topicId = topicId;
    this.partition = partition;
    this.firstOffset = extent.firstOffset;
    this.firstPosition = extent.firstPosition;
    this.nextOffset = extent.endOffset;
    this.plannedOffset = extent.endOffset;
    this.endOffset = extent.endOffset;
    this.plannedPosition = extent.endPosition;
    this.endPosition = extent.endPosition;
    // Opening the database flushes and syncs the contents of its log.
    this.syncedOffset = extent.endOffset;
    this.lastPublishTimeMs = extent.lastPublishTimeMs;
    this.clockSteps = extent.clockSteps;
  }
}

/** All partitions of all topics. */
export class LogTable {
  readonly #topics = new Map<number, PartitionLog[]>();

  /** Throws TOPIC_NOT_FOUND or UNKNOWN_PARTITION. */
  get(topicId: number, partition: number): PartitionLog {
    const logs = this.#topics.get(topicId);
    if (logs === undefined) throw new SluiceError('TOPIC_NOT_FOUND', `the store has no topic ${topicId}`);
    const log = logs[partition];
    if (log === undefined) {
      throw new SluiceError('UNKNOWN_PARTITION', `topic ${topicId} has no partition ${partition}`);
    }
    return log;
  }

  partitionCount(topicId: number): number {
    return this.#topics.get(topicId)?.length ?? 0;
  }

  /** Creates a topic, or adds partitions. */
  grow(topicId: number, partitionCount: number, extentOf?: (partition: number) => Extent | undefined): void {
    const logs = this.#topics.get(topicId) ?? [];
    while (logs.length < partitionCount) {
      logs.push(new PartitionLog(topicId, logs.length, extentOf?.(logs.length) ?? emptyExtent));
    }
    this.#topics.set(topicId, logs);
  }

  /** Returns the deleted logs. */
  delete(topicId: number): readonly PartitionLog[] {
    const logs = this.#topics.get(topicId) ?? [];
    for (const log of logs) log.isDeleted = true;
    this.#topics.delete(topicId);
    return logs;
  }

  *[Symbol.iterator](): Generator<PartitionLog> {
    for (const logs of this.#topics.values()) yield* logs;
  }
}
