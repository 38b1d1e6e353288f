import type { CallContext } from '../base/call-context.js';
import type { SluiceError } from '../base/errors.js';
import type { Durability, StartPosition, SubscriptionConfig, TopicConfig } from '../base/model.js';
import type { Credit, PartitionInterval, SessionEnd, Settlement, SettleResult, Wait } from '../core/types.js';
import type { StorageUsage, StoredRun } from '../storage/types.js';

/** The interface between server and broker. Plain values: no gRPC, no generated messages. */

// --- Publishing -------------------------------------------------------------------------------------------

/**
 * A publish request as the server read it: checked in full, not decoded. `bounds` holds four numbers for each
 * message: where the message begins (with tag and length) and ends in `source`, and where its key begins and ends
 * (equal for an empty key).
 */
export interface PublishBatch {
  /** Undefined: the topic of the previous batch of the stream. */
  readonly topic: string | undefined;
  /** Undefined: routed by key. */
  readonly partition: number | undefined;
  readonly producer: ProducerSequence | undefined;
  readonly source: Uint8Array;
  readonly bounds: readonly number[];
}

export interface ProducerSequence {
  readonly producerId: string;
  readonly epoch: number;
  readonly firstSequence: number;
}

export interface Receipt {
  readonly messageCount: number;
  readonly duplicateCount: number;
  /** Merged, in order of partition and offset. */
  readonly ranges: readonly PartitionInterval[];
  readonly durability: Durability;
}

export type PublishDone = (error: SluiceError | undefined, receipt: Receipt | undefined) => void;

/** Why a producer's stream is not read. */
export type HoldReason = 'writer' | 'share' | 'backlog' | 'disk' | 'receipts';

/** The position of a producer: its epoch, and the sequence of its last message. */
export interface ProducerPlace {
  readonly epoch: number;
  readonly lastSequence: number;
}

export interface ClaimOptions {
  /** A repeated call with the same number, not 0, gets the same epoch. */
  readonly claimId: number;
  /** Claims only if this is the producer's epoch. */
  readonly currentEpoch: number | undefined;
}

/** One producer's stream. */
export interface Publisher {
  /**
   * Calls `ready` once, as soon as there is room for another batch: from within this call if there is room
   * already. A producer is stopped by not calling `publish` before that: its stream is not read.
   */
  whenReady(ready: () => void): void;
  /**
   * The stream is not read until the client has received and read more receipts. Only for `listProducers`. Ends
   * with the next `whenReady`.
   */
  awaitReceipts(): void;
  /**
   * Stores a batch, all or nothing. Calls `done` exactly once: in the order of the stored batches, or possibly
   * from within the call if the batch is refused.
   */
  publish(batch: PublishBatch, done: PublishDone): void;
  /**
   * Nothing more will be published. A batch that is held is answered with this error at once. Submitted batches
   * are finished, and `ready` is not called any more.
   */
  stop(error: SluiceError): void;
  /** The stream has ended. Submitted batches are finished, and `ready` is not called any more. */
  close(): void;
}

// --- Delivery ---------------------------------------------------------------------------------------------

/** Messages `from` up to but not including `to` of a stored run. */
export interface DeliveredRun {
  readonly run: StoredRun;
  readonly from: number;
  readonly to: number;
  /** 1 for the first delivery; 0 for a `Read`, which leases nothing. */
  readonly attempt: number;
  /** Increases with each delivery of a session; 0 for a `Read`, which leases nothing. */
  readonly deliveryId: number;
}

/** Why a consumer gets no messages: the reason of the subscription state, or the transport. */
export type WaitReason = Wait['reason'] | 'transport';

export interface ConsumeOptions {
  readonly topic: string;
  readonly subscription: string;
  readonly consumerId: string;
  readonly context: CallContext;
  readonly credit: Partial<Credit>;
  /** Where the subscription starts if this call creates it. */
  readonly start: StartPosition;
}

export interface SessionInfo {
  readonly sessionId: string;
  readonly credit: Credit;
  readonly ackDeadlineMs: number;
}

/** The stream to one consumer. */
export interface ConsumerSink {
  /** Call `written` when the frame has left for the transport. It need not be called after the stream broke. */
  deliver(runs: readonly DeliveredRun[], written: () => void): void;
  assigned(partitions: readonly number[]): void;
  /** The broker took these messages back: later runs are other deliveries of them. */
  revoked(offsets: readonly PartitionInterval[]): void;
  heartbeat(timeMs: number, backlogMessageCount: number): void;
  /** The broker ends the session. This is the last call. */
  ended(error: SluiceError): void;
}

export interface ConsumerSession extends SessionInfo {
  /** It has messages that are not settled. */
  readonly isHolding: boolean;
  /** The consumer has received the opening: deliveries begin. */
  start(): void;
  /** The stream has ended: its outstanding messages are pending again. May be called twice. */
  close(end: SessionEnd): void;
}

export interface ReadOptions {
  readonly topic: string;
  readonly partition: number | undefined;
  readonly start: StartPosition;
  /** 0: no limit. */
  readonly limit: number;
  readonly isFollowing: boolean;
}

export interface ReadSink {
  deliver(runs: readonly DeliveredRun[], written: () => void): void;
  /** The last call. Without an error if everything that was asked for was delivered. */
  ended(error: SluiceError | undefined): void;
}

export interface ReadSession {
  close(): void;
}

// --- Redriving --------------------------------------------------------------------------------------------

export interface RedriveOptions {
  readonly topic: string;
  /** The subscription that dead-lettered the messages. */
  readonly subscription: string;
  /** Only counts. */
  readonly isDryRun: boolean;
  /** 0: all dead letters that existed when the redrive began. */
  readonly limit: number;
  /** Messages for each second; 0: no limit. */
  readonly ratePerSecond: number;
}

export interface RedriveProgress {
  /** Sent back, and durable. At the end of a dry run: what a redrive would send back. */
  readonly redrivenCount: number;
  /**
   * Dead letters that are left of those that existed when the redrive began. While they are being counted: those
   * found so far.
   */
  readonly remainingCount: number;
}

export interface RedriveSink {
  /** Called at least once a second, and before the end. */
  progress(progress: RedriveProgress): void;
  /**
   * The last call. Messages that were sent back before an error stay sent back: another call continues behind
   * them.
   */
  ended(error: SluiceError | undefined): void;
}

export interface RedriveSession {
  /** Nothing more is sent back. May be called twice. */
  close(): void;
}

// --- Looking inside ---------------------------------------------------------------------------------------

export interface TopicInfo {
  readonly config: TopicConfig;
  readonly partitions: readonly PartitionInfo[];
}

export interface PartitionInfo {
  readonly partition: number;
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly bytes: number;
}

export interface SubscriptionInfo {
  readonly config: SubscriptionConfig;
  readonly partitions: readonly SubscriptionPartitionInfo[];
}

export interface SubscriptionPartitionInfo {
  readonly partition: number;
  readonly acknowledgedOffset: number;
  readonly backlogMessageCount: number;
  readonly outstandingMessageCount: number;
  /** All messages that were ever dead-lettered here, including redriven ones. */
  readonly deadLetterCount: number;
  readonly sessionId: string | undefined;
}

export interface ProducerInfo {
  /** The topic of the last batch; empty before the first. */
  readonly topic: string;
  readonly producerId: string;
  readonly peer: string;
  readonly connectTimeMs: number;
  readonly messageCount: number;
  /** Batches that were read and not answered. */
  readonly pendingBatchCount: number;
  readonly hold: { readonly reason: HoldReason; readonly forMs: number } | undefined;
}

export interface ConsumerInfo {
  readonly sessionId: string;
  readonly consumerId: string;
  readonly topic: string;
  readonly subscription: string;
  readonly peer: string;
  readonly connectTimeMs: number;
  readonly credit: Credit;
  readonly outstandingMessageCount: number;
  readonly outstandingBytes: number;
  readonly partitions: readonly number[];
  readonly wait: { readonly reason: WaitReason; readonly forMs: number } | undefined;
}

export interface MessageInfo {
  /** Undefined if retention has removed the message. */
  readonly message: DeliveredRun | undefined;
  readonly statuses: readonly {
    readonly subscription: string;
    readonly state: 'pending' | 'processing' | 'done' | 'failed';
    readonly failedAttempts: number;
    readonly sessionId: string | undefined;
  }[];
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

/** Figures for metrics. The counts grow from the start of the broker; the other figures are current. */
export interface BrokerStats extends StorageUsage {
  readonly publishedMessages: number;
  /** Encoded bytes of requests that stored something. */
  readonly publishedBytes: number;
  readonly duplicateMessages: number;
  readonly refusedBatches: number;
  /** Each delivery of a message counts. */
  readonly deliveredMessages: number;
  readonly deliveredBytes: number;
  readonly settledMessages: number;
  readonly deadLetteredMessages: number;
  readonly producersByHold: ReadonlyMap<HoldReason | 'none', number>;
  /** Over all streams, including waits that are still under way. */
  readonly heldMs: ReadonlyMap<HoldReason, number>;
  readonly consumersByWait: ReadonlyMap<WaitReason | 'none', number>;
  readonly waitedMs: ReadonlyMap<WaitReason, number>;
  /** Frames that have not left for the transport. */
  readonly frameBytes: number;
}

export interface ServerInfo {
  readonly version: string;
  readonly startTimeMs: number;
  readonly maxPartitionCount: number;
  readonly maxMessageBytes: number;
  readonly maxRequestBytes: number;
  readonly defaultDurability: Durability;
}

/** The fields of a topic to change. An absent field stays as it is. */
export type TopicChange = Partial<
  Pick<TopicConfig, 'partitionCount' | 'retention' | 'backlogLimit' | 'durability'>
>;

/** The fields of a subscription to change. An absent field stays as it is. */
export type SubscriptionChange = Partial<
  Pick<SubscriptionConfig, 'ackDeadlineMs' | 'minBackoffMs' | 'maxBackoffMs' | 'deadLetter'>
>;

/** The broker without its network. All errors are SluiceErrors. */
export interface Broker {
  openPublisher(context: CallContext): Publisher;
  /** Claims the producer: gives the caller an epoch of its own, durably, and fences lower ones. */
  openProducer(topic: string, producerId: string, options: ClaimOptions): Promise<ProducerPlace>;
  /** Claims nothing. */
  getProducer(topic: string, producerId: string): Promise<ProducerPlace>;

  subscribe(options: ConsumeOptions, sink: ConsumerSink): Promise<ConsumerSession>;
  /**
   * Resolves when the settlements are durable. Ignores messages that were delivered later than `lastDeliveryId`.
   */
  settle(
    sessionId: string,
    settlements: readonly Settlement[],
    lastDeliveryId?: number,
  ): Promise<SettleResult>;
  /** Changes the given fields, and returns the credit now in force. */
  setCredit(sessionId: string, credit: Partial<Credit>): Credit;
  read(options: ReadOptions, sink: ReadSink): Promise<ReadSession>;
  /**
   * Sends a subscription's dead letters back to it. Replaces another redrive of the subscription. Throws
   * TOPIC_NOT_FOUND or SUBSCRIPTION_NOT_FOUND.
   */
  redrive(options: RedriveOptions, sink: RedriveSink): RedriveSession;

  createTopic(config: Omit<TopicConfig, 'createTimeMs'>): Promise<TopicInfo>;
  getTopic(name: string): TopicInfo;
  listTopics(pageSize: number, pageToken: string): Page<TopicInfo>;
  updateTopic(name: string, change: TopicChange): Promise<TopicInfo>;
  deleteTopic(name: string): Promise<void>;

  createSubscription(
    config: Omit<SubscriptionConfig, 'createTimeMs'>,
    start: StartPosition,
  ): Promise<SubscriptionInfo>;
  getSubscription(topic: string, name: string): SubscriptionInfo;
  /** Empty `topic`: of every topic. */
  listSubscriptions(topic: string, pageSize: number, pageToken: string): Page<SubscriptionInfo>;
  updateSubscription(topic: string, name: string, change: SubscriptionChange): Promise<SubscriptionInfo>;
  deleteSubscription(topic: string, name: string): Promise<void>;
  seekSubscription(
    topic: string,
    name: string,
    partition: number | undefined,
    position: StartPosition,
  ): Promise<SubscriptionInfo>;

  /** Empty `topic`: of every topic. */
  listProducers(topic: string): readonly ProducerInfo[];
  listConsumers(topic: string, subscription: string): readonly ConsumerInfo[];
  getMessage(topic: string, partition: number, offset: number): Promise<MessageInfo>;
  serverInfo(): ServerInfo;
  stats(): BrokerStats;

  /** Refuses new work with DRAINING, ends sessions, waits for submitted work, and closes the store. */
  close(): Promise<void>;
}
