import type { Durability } from '../base/model.js';
import type { CursorState } from '../base/positions.js';
import type { Change } from './codec/changes.js';
import type { DeadLetterNote } from './codec/dead-letter.js';
import type { ProducerState } from './codec/producer.js';
import type { StoredRun } from './codec/run.js';
import type { CatalogSubscription } from './codec/subscription.js';
import type { CatalogTopic } from './codec/topic.js';

export type { Append } from './codec/append.js';
export type { Change } from './codec/changes.js';
export type { CursorUpdate } from './codec/cursor.js';
export type { DeadLetterAddition, DeadLetterNote, DeadLetterRemoval } from './codec/dead-letter.js';
export type { ProducerState, ProducerUpdate } from './codec/producer.js';
export type { RedriveUpdate } from './codec/redrive.js';
export type { StoredRun } from './codec/run.js';
export type { CatalogSubscription } from './codec/subscription.js';
export type { CatalogTopic } from './codec/topic.js';

/** One atomic change: all of it becomes durable, or nothing. */
export interface Transaction {
  readonly durability: Durability;
  /** In order: an append to a new topic comes after the topic. Absent: a barrier. */
  readonly changes?: readonly Change[];
  /** Called once, in the order of submission, after the commit. Never from within `submit`. */
  readonly onCommitted?: () => void;
  /** Called once instead if storage has failed: the transaction may or may not be on disk. */
  readonly onFailed?: (error: Error) => void;
}

/**
 * Reads one partition forwards. Between reads it may hold an iterator and data that was read ahead. Close it when
 * it is no longer used.
 */
export interface LogReader {
  /**
   * Committed runs from the one that contains `offset` on, about `maxBytes` of them (at least one, unless the log
   * ends there). The first may begin before `offset`. Returns at once if memory has them, otherwise a promise. The
   * runs are valid until the event loop continues: then their memory may be reused. Copy what is needed for
   * longer. One read at a time. Throws or rejects with OFFSET_OUT_OF_RANGE below the first offset, with DATA_LOSS
   * at damage, and with STORAGE_FAILED if the store was closed.
   */
  read(offset: number, maxBytes: number): readonly StoredRun[] | Promise<readonly StoredRun[]>;
  /** Gives up what it holds. A read under way is answered with an empty list. May be called twice. */
  close(): void;
}

/** The memory that the store uses, as it accounts for it. */
export interface StorageUsage {
  /** Waiting for the writer, or being written. */
  readonly queuedBytes: number;
  readonly tailBytes: number;
  /** What log readers hold of the disk. */
  readonly readAheadBytes: number;
  /** Blocks that the tail has dropped, kept for the next rounds. */
  readonly spareRoundBytes: number;
}

export interface PartitionExtent {
  /** The first offset that is kept. */
  readonly firstOffset: number;
  /** One past the last committed message: what readers see. */
  readonly endOffset: number;
  /** About how many encoded bytes are kept. */
  readonly bytes: number;
}

export interface StorageListener {
  /**
   * A partition has grown. Called once for each partition and commit, after the `onCommitted` of its transactions.
   */
  grown(topicId: number, partition: number, endOffset: number): void;
  /** There is room again after `hasRoom` was false. */
  room(): void;
}

export interface StorageOptions {
  readonly directory: string;
  /** Column families for partitions. May be raised at a restart, never lowered. */
  readonly maxPartitionCount: number;
  /** Opens the store although synced messages are missing. */
  readonly acceptDataLoss: boolean;
  /** Below this much free space producers are held. Before that, a reserve is kept for the next start. */
  readonly minFreeDiskBytes: number;
  readonly tailBytes: number;
  readonly writerQueueBytes: number;
  readonly concurrentReads: number;
  /** Memory for what log readers hold of the disk. */
  readonly readAheadBytes: number;
}

/** The store. One implementation: `openStorage` in storage.ts. */
export interface Storage {
  /** The catalog as it was when the store was opened. */
  readonly recovered: {
    readonly topics: readonly CatalogTopic[];
    readonly subscriptions: readonly CatalogSubscription[];
  };
  /** Damage and losses that a setting accepted when the store was opened, for the log. */
  readonly warnings: readonly string[];
  /** Resolves when the store has failed: it accepts nothing more, and the process has to end. */
  readonly failed: Promise<Error>;

  /** Reports to this listener from now on. There is at most one. It must listen before the first `submit`. */
  listen(listener: StorageListener): void;

  /** An id that no topic ever had. The first commit that puts a topic with it makes it final. */
  nextTopicId(): number;
  nextSubscriptionId(): number;

  /**
   * Submits a transaction to the writer. Assigns offsets at once: returns the first offset of each append, in
   * order. Throws STORAGE_FAILED if the store has failed or is closed. Never blocks: check `hasRoom` first.
   */
  submit(transaction: Transaction): readonly number[];
  /** False while more than `writerQueueBytes` wait for the writer. */
  readonly hasRoom: boolean;
  readonly usage: StorageUsage;
  /** How many bytes may still be submitted; negative if the queue is over its limit. */
  readonly roomBytes: number;
  /** Bytes that were submitted since the store was opened. Never decreases. */
  readonly submittedBytes: number;
  /** Bytes that wait for the writer, or are being written. */
  readonly queuedBytes: number;

  /** What readers see of a partition. Throws if the topic or the partition does not exist. */
  extent(topicId: number, partition: number): PartitionExtent;
  openReader(topicId: number, partition: number): LogReader;
  /** The first offset accepted at or after this time; the end offset if there is none. */
  offsetAt(topicId: number, partition: number, timeMs: number): Promise<number>;

  /** Bytes of the messages from this offset on, in whole records: never too few. */
  bytesFrom(topicId: number, partition: number, offset: number): Promise<number>;
  /** The lowest offset from which at most this many bytes of messages are kept. */
  offsetOfNewest(topicId: number, partition: number, bytes: number): Promise<number>;
  /**
   * Retention: moves the first offset of a partition up to `offset`, at once for readers, and removes the messages
   * below. Resolves when that is committed. Never moves it down. Offsets are never reused, however much is
   * removed.
   */
  removeBelow(topicId: number, partition: number, offset: number): Promise<void>;

  /** What is written, as for the three methods below: transactions that still wait do not count. */
  readProducer(topicId: number, producerId: string): Promise<ProducerState | undefined>;
  /** By partition, of a subscription of a topic with this number of partitions. One without a stored cursor is absent. */
  readCursors(subscriptionId: number, partitionCount: number): Promise<ReadonlyMap<number, CursorState>>;
  /** The note that the subscription dead-lettered this message, if there is one. */
  readDeadLetter(
    subscriptionId: number,
    partition: number,
    offset: number,
  ): Promise<DeadLetterNote | undefined>;
  /** The messages from `first` to `last` that the subscription dead-lettered: ascending, at most `limit`. */
  readDeadLetterOffsets(
    subscriptionId: number,
    partition: number,
    first: number,
    last: number,
    limit: number,
  ): Promise<readonly number[]>;
  /** By partition of the dead-letter topic: how far the subscription's dead letters have been sent back. */
  readRedrives(subscriptionId: number, deadLetterTopicId: number): Promise<ReadonlyMap<number, number>>;

  /** Waits for submitted transactions, notes the synced offsets, and closes the database. */
  close(): Promise<void>;
}
