import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/logger.js';
import type { Durability, SubscriptionConfig, TopicConfig } from '../base/model.js';
import type { CursorState, Interval } from '../base/positions.js';

/** A topic of the catalog. Ids are never used again. */
export interface CatalogTopic {
  readonly topicId: number;
  readonly config: TopicConfig;
}

export interface CatalogSubscription {
  readonly subscriptionId: number;
  readonly topicId: number;
  readonly config: SubscriptionConfig;
}

/** Messages for one partition, as they came: they get consecutive offsets, in this order. */
export interface Append {
  readonly topicId: number;
  readonly partition: number;
  /** Empty for an anonymous producer. */
  readonly producerId: string;
  /** The only subscription that the messages are for; absent or 0: everybody's. */
  readonly targetSubscriptionId?: number;
  /** Encoded `messages` fields (number 15, with tag and length): each chunk holds one or more whole ones. */
  readonly chunks: readonly Uint8Array[];
  /** Messages in all chunks together, at least 1. */
  readonly count: number;
  /** Bytes of all chunks together. */
  readonly byteLength: number;
}

/** The position of an idempotent producer in one topic. */
export interface ProducerState {
  readonly epoch: number;
  /** 0 before the first message. */
  readonly lastSequence: number;
  /** The last sequence of the epochs before. */
  readonly baseSequence: number;
  /** Of the call that claimed the epoch; 0 or absent: none. */
  readonly claimId?: number;
}

export interface ProducerUpdate extends ProducerState {
  readonly topicId: number;
  readonly producerId: string;
}

export interface CursorUpdate {
  readonly subscriptionId: number;
  readonly partition: number;
  /**
   * Called when the commit is put together, so that many settlements of one cursor cost one write. It may
   * already hold later changes: they become durable early, and are answered by their own commit.
   */
  readonly state: () => CursorState;
}

/** A note that a subscription gave up a message; kept until a seek goes back to it, or as long as the subscription. */
export interface DeadLetterNote {
  readonly subscriptionId: number;
  readonly partition: number;
  readonly offset: number;
  readonly attempts: number;
}

/** The notes of these messages are removed, before `deadLetters` of the same transaction are added. */
export interface DeadLetterRange extends Interval {
  readonly subscriptionId: number;
  readonly partition: number;
}

/** How far a subscription's dead letters have been sent back to it. Kept as long as the subscription. */
export interface RedriveUpdate {
  readonly subscriptionId: number;
  readonly deadLetterTopicId: number;
  /** Of the dead-letter topic. */
  readonly partition: number;
  /** Everything below that the subscription gave up has been sent back. */
  readonly offset: number;
}

/** One atomic change. All of it is durable, or none of it happened. */
export interface Transaction {
  readonly durability: Durability;
  readonly appends?: readonly Append[];
  readonly producers?: readonly ProducerUpdate[];
  readonly cursors?: readonly CursorUpdate[];
  readonly forgottenDeadLetters?: readonly DeadLetterRange[];
  readonly deadLetters?: readonly DeadLetterNote[];
  readonly redrives?: readonly RedriveUpdate[];
  /** Creates or replaces topics; a new partition count takes effect at once. */
  readonly putTopics?: readonly CatalogTopic[];
  /** Ids of topics to remove with their messages and producers. */
  readonly deleteTopics?: readonly number[];
  readonly putSubscriptions?: readonly CatalogSubscription[];
  /** Ids of subscriptions to remove with their cursors. */
  readonly deleteSubscriptions?: readonly number[];
  /** Called once, in the order of submission, after the commit. Never from within `submit`. */
  readonly onCommitted?: () => void;
  /** Called once instead, when storage has failed. Nothing of the transaction may be relied on. */
  readonly onFailed?: (error: Error) => void;
}

/** Messages of one partition at consecutive offsets, by one producer, for the same readers, accepted at one time. */
export interface StoredRun {
  readonly partition: number;
  readonly firstOffset: number;
  readonly count: number;
  readonly publishTimeMs: number;
  readonly producerId: string;
  /** The only subscription that the messages are for; 0: everybody's. */
  readonly targetSubscriptionId: number;
  /** Encoded `messages` fields (number 15), byte for byte as they were published. */
  readonly messages: Uint8Array;
  /** `ends[i]` is where message i ends in `messages`. Computed when first asked for, then kept. */
  readonly ends: Uint32Array;
}

/** Reads one partition forwards. Between reads it may hold an iterator and one read ahead; close it when idle. */
export interface LogReader {
  /**
   * Committed runs from the one that holds `offset` on, about `maxBytes` of them (at least one, unless the log
   * ends there). The first may begin before `offset`. Answers at once when memory has them, otherwise later. Good
   * until the event loop goes on: then their memory may be used for newer messages. Copy what is needed for longer.
   * One read at a time. Throws or rejects with OFFSET_OUT_OF_RANGE below the first offset, DATA_LOSS at damage.
   */
  read(offset: number, maxBytes: number): readonly StoredRun[] | Promise<readonly StoredRun[]>;
  /** Gives up what it holds. A read under way is answered with an empty list. Harmless twice. */
  close(): void;
}

/** What the store holds in memory, as it accounts for it. */
export interface StorageUsage {
  /** Waiting for the writer, or with it. */
  readonly queuedBytes: number;
  readonly tailBytes: number;
  /** What log readers hold of the disk. */
  readonly readAheadBytes: number;
  /** Of rounds that the tail has dropped, kept for the next ones. */
  readonly spareRoundBytes: number;
}

export interface PartitionExtent {
  /** The first offset that is kept. */
  readonly firstOffset: number;
  /** One past the last committed message: what readers see. */
  readonly endOffset: number;
  /** Encoded bytes kept, about. */
  readonly bytes: number;
}

export interface StorageListener {
  /** A partition has grown: once for each partition and commit, after the `onCommitted` of its transactions. */
  grown(topicId: number, partition: number, endOffset: number): void;
  /** There is room again after `hasRoom` was false. */
  room(): void;
  /** A write failed: the store takes nothing any more, and the process is to end. */
  failed(error: Error): void;
}

export interface StorageOptions {
  readonly directory: string;
  /** Column families for partitions. May be raised at a restart, never lowered. */
  readonly maxPartitionCount: number;
  /** Open although messages that were synced are missing. */
  readonly acceptDataLoss: boolean;
  /** Below this much free space producers are held: before it gets there, a reserve is kept for the next start. */
  readonly minFreeDiskBytes: number;
  readonly tailBytes: number;
  readonly writerQueueBytes: number;
  readonly concurrentReads: number;
  /** Memory for what log readers hold of the disk. */
  readonly readAheadBytes: number;
}

export interface StorageServices {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The store. One implementation: `openStorage` in storage.ts. */
export interface Storage {
  /** The catalog as it was at opening. */
  readonly recovered: {
    readonly topics: readonly CatalogTopic[];
    readonly subscriptions: readonly CatalogSubscription[];
  };
  /** Known messages of damage and loss at opening that a setting accepted: for the log. */
  readonly warnings: readonly string[];

  /** An id that no topic ever had; it is taken for good by the first commit that puts a topic. */
  nextTopicId(): number;
  nextSubscriptionId(): number;

  /**
   * Hands a transaction to the writer. Offsets are given at once: the result is the first offset of each append,
   * in order. Throws STORAGE_FAILED when the store has failed or is closed. Never blocks: look at `hasRoom` first.
   */
  submit(transaction: Transaction): readonly number[];
  /** False while more than `writerQueueBytes` wait for the writer. */
  readonly hasRoom: boolean;
  readonly usage: StorageUsage;
  /** What may still be submitted before there is no room; negative when there is none. */
  readonly roomBytes: number;
  /** Bytes that were ever submitted since the store was opened: only grows. */
  readonly submittedBytes: number;
  /** Bytes that wait for the writer or are with it. */
  readonly queuedBytes: number;

  /** What readers see of a partition. Throws on a topic or partition that is not there. */
  extent(topicId: number, partition: number): PartitionExtent;
  openReader(topicId: number, partition: number): LogReader;
  /** The first message accepted at or after this time; the end offset when there is none. */
  offsetAt(topicId: number, partition: number, timeMs: number): Promise<number>;

  /** Bytes of the messages that are kept from this offset on, by whole records: never too few. */
  bytesFrom(topicId: number, partition: number, offset: number): Promise<number>;
  /** The lowest offset from which on no more than this many bytes of messages are kept. */
  offsetOfNewest(topicId: number, partition: number, bytes: number): Promise<number>;
  /**
   * Retention: moves the first offset of a partition up to `offset`, at once for readers, and removes what is
   * below. Resolves when that is committed. Never moves it down; offsets are never given again, however much is
   * removed.
   */
  removeBelow(topicId: number, partition: number, offset: number): Promise<void>;

  /** What is committed, like the three below: the state of a transaction that still waits is not seen. */
  readProducer(topicId: number, producerId: string): Promise<ProducerState | undefined>;
  /** By partition; a partition that was never written is absent. */
  readCursors(subscriptionId: number): Promise<ReadonlyMap<number, CursorState>>;
  /** The note that a subscription gave up this message, if it did. */
  readDeadLetter(
    subscriptionId: number,
    partition: number,
    offset: number,
  ): Promise<DeadLetterNote | undefined>;
  /** Of the messages `first` to `last`, those that a subscription gave up: ascending, the first `limit` of them. */
  readDeadLetterOffsets(
    subscriptionId: number,
    partition: number,
    first: number,
    last: number,
    limit: number,
  ): Promise<readonly number[]>;
  /** By partition of the dead-letter topic: how far the subscription's dead letters have been sent back. */
  readRedrives(subscriptionId: number, deadLetterTopicId: number): Promise<ReadonlyMap<number, number>>;

  /** Waits for what was submitted, notes the synced offsets, closes the database. */
  close(): Promise<void>;
}
