import type { SluiceError } from '../base/errors.js';
import type { Durability, StartPosition, SubscriptionConfig, TopicConfig } from '../base/model.js';
import type { Credit, PartitionInterval, SessionEnd, Settlement, SettleResult, Wait } from '../core/types.js';
import type { StorageUsage, StoredRun } from '../storage/types.js';
import type { ClaimOptions, ProducerPlace } from './open-producer.js';

/** What the server calls, and what it is called back with. Plain values: no gRPC, no generated messages. */

// --- Publishing -------------------------------------------------------------------------------------------

/**
 * A publish request as the server found it on the wire: checked in full, not decoded. Four numbers a message
 * stand in `bounds`: where the message begins (with tag and length) and ends in `source`, and where its key
 * begins and ends (equal for an empty key).
 */
export interface PublishBatch {
  /** Undefined: the topic of the stream's batch before. */
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

/** One producer's stream. */
export interface Publisher {
  /**
   * Calls back once there is room for another batch: at once, from within the call, where there is room already.
   * Not calling `publish` before is what stops a producer: its stream is not read.
   */
  whenReady(ready: () => void): void;
  /**
   * The stream is not read until the client has been told of more of its batches, and has read that: for
   * `listProducers`. Over with the next `whenReady`.
   */
  awaitReceipts(): void;
  /**
   * Stores a batch, all or nothing. `done` is called exactly once, in the order of the batches among those
   * that are stored, and possibly from within the call when the batch is refused.
   */
  publish(batch: PublishBatch, done: PublishDone): void;
  /**
   * Nothing more will be published: a batch that is held until there is room is answered with this error, at once.
   * What was submitted is finished, and `ready` is not called any more.
   */
  stop(error: SluiceError): void;
  /** The stream has ended: what was submitted is finished all the same, `ready` is not called any more. */
  close(): void;
}

// --- Delivery ---------------------------------------------------------------------------------------------

/** Messages `from` up to but not including `to` of a stored run. */
export interface DeliveredRun {
  readonly run: StoredRun;
  readonly from: number;
  readonly to: number;
  /** 1 on the first delivery; 0 where nothing is leased (Read). */
  readonly attempt: number;
  /** Grows with the deliveries of a session; 0 where nothing is leased. */
  readonly deliveryId: number;
}

/** Why a consumer gets nothing: the reason of the subscription state, or the transport. */
export type WaitReason = Wait['reason'] | 'transport';

export interface ConsumeOptions {
  readonly topic: string;
  readonly subscription: string;
  readonly consumerId: string;
  readonly peer: string;
  readonly credit: Partial<Credit>;
  /** Where the subscription starts, if this call creates it. */
  readonly start: StartPosition;
}

export interface SessionInfo {
  readonly sessionId: string;
  readonly credit: Credit;
  readonly ackDeadlineMs: number;
}

/** The way to one consumer. */
export interface ConsumerSink {
  /** `written` is to be called when the frame has left for the transport; when the stream broke, it need not be. */
  deliver(runs: readonly DeliveredRun[], written: () => void): void;
  assigned(partitions: readonly number[]): void;
  /** These were taken back: what is delivered from now on is another delivery of them. */
  revoked(offsets: readonly PartitionInterval[]): void;
  heartbeat(timeMs: number, backlogMessageCount: number): void;
  /** The broker ends the session: last call. */
  ended(error: SluiceError): void;
}

export interface ConsumerSession extends SessionInfo {
  /** It has messages that are not settled. */
  readonly isHolding: boolean;
  /** Called once the opening has been announced to the consumer: deliveries begin. */
  start(): void;
  /** The stream has ended: what was outstanding is free. Harmless twice. */
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
  /** Last call: without an error at the end of what was asked for. */
  ended(error: SluiceError | undefined): void;
}

export interface ReadSession {
  close(): void;
}

// --- Redriving --------------------------------------------------------------------------------------------

export interface RedriveOptions {
  readonly topic: string;
  /** The subscription that gave the messages up. */
  readonly subscription: string;
  /** Counts only. */
  readonly isDryRun: boolean;
  /** 0: all that were there when it began. */
  readonly limit: number;
  /** Messages; 0: as fast as it goes. */
  readonly ratePerSecond: number;
}

export interface RedriveProgress {
  /** Sent back, and durable. In a dry run, at the end: what would be. */
  readonly redrivenCount: number;
  /** Left of those that were there when it began; while they are being counted, those that were found. */
  readonly remainingCount: number;
}

export interface RedriveSink {
  /** At least once a second, and before the end. */
  progress(progress: RedriveProgress): void;
  /** Last call. What was sent back before an error stays so: repeating goes on behind it. */
  ended(error: SluiceError | undefined): void;
}

export interface RedriveSession {
  /** Nothing more is sent back. Harmless twice. */
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
  /** Ever dead-lettered here, redriven ones included. */
  readonly deadLetterCount: number;
  readonly sessionId: string | undefined;
}

export interface ProducerInfo {
  /** Of the last batch; empty before the first. */
  readonly topic: string;
  readonly producerId: string;
  readonly peer: string;
  readonly connectTimeMs: number;
  readonly messageCount: number;
  /** Batches that were read and are not answered. */
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
  /** Undefined where retention has removed the message. */
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

/** Figures for metrics. The counts grow from the start of the broker on, the rest is as it is now. */
export interface BrokerStats extends StorageUsage {
  readonly publishedMessages: number;
  /** Of requests that stored something, encoded. */
  readonly publishedBytes: number;
  readonly duplicateMessages: number;
  readonly refusedBatches: number;
  /** Each delivery of a message. */
  readonly deliveredMessages: number;
  readonly deliveredBytes: number;
  readonly settledMessages: number;
  readonly deadLetteredMessages: number;
  readonly producersByHold: ReadonlyMap<HoldReason | 'none', number>;
  /** Over all streams, what is still going on included. */
  readonly heldMs: ReadonlyMap<HoldReason, number>;
  readonly consumersByWait: ReadonlyMap<WaitReason | 'none', number>;
  readonly waitedMs: ReadonlyMap<WaitReason, number>;
  /** Of frames that have not left for the transport. */
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

/** What may change in a topic; absent: stays as it is. */
export type TopicChange = Partial<
  Pick<TopicConfig, 'partitionCount' | 'retention' | 'backlogLimit' | 'durability'>
>;

/** What may change in a subscription; absent: stays as it is. */
export type SubscriptionChange = Partial<
  Pick<SubscriptionConfig, 'ackDeadlineMs' | 'minBackoffMs' | 'maxBackoffMs' | 'deadLetter'>
>;

/** The broker without its network. Everything that fails throws or rejects with a SluiceError. */
export interface Broker {
  /** `peer`: the address of the client, for people. */
  openPublisher(peer: string): Publisher;
  /** Claims the producer: an epoch of the caller's own, durable; lower ones are fenced. */
  openProducer(topic: string, producerId: string, options: ClaimOptions): Promise<ProducerPlace>;
  /** Claims nothing. */
  getProducer(topic: string, producerId: string): Promise<ProducerPlace>;

  subscribe(options: ConsumeOptions, sink: ConsumerSink): Promise<ConsumerSession>;
  /** Resolves when the settlements are durable. Leaves alone what was delivered later than `lastDeliveryId`. */
  settle(
    sessionId: string,
    settlements: readonly Settlement[],
    lastDeliveryId?: number,
  ): Promise<SettleResult>;
  /** Changes what is given, answers what is then in force. */
  setCredit(sessionId: string, credit: Partial<Credit>): Credit;
  read(options: ReadOptions, sink: ReadSink): Promise<ReadSession>;
  /**
   * Sends a subscription's dead letters back to it, in place of another call that does so. Throws TOPIC_NOT_FOUND
   * or SUBSCRIPTION_NOT_FOUND.
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
  /** `topic` empty: of every topic. */
  listSubscriptions(topic: string, pageSize: number, pageToken: string): Page<SubscriptionInfo>;
  updateSubscription(topic: string, name: string, change: SubscriptionChange): Promise<SubscriptionInfo>;
  deleteSubscription(topic: string, name: string): Promise<void>;
  seekSubscription(
    topic: string,
    name: string,
    partition: number | undefined,
    position: StartPosition,
  ): Promise<SubscriptionInfo>;

  /** `topic` empty: of every topic. */
  listProducers(topic: string): readonly ProducerInfo[];
  listConsumers(topic: string, subscription: string): readonly ConsumerInfo[];
  getMessage(topic: string, partition: number, offset: number): Promise<MessageInfo>;
  serverInfo(): ServerInfo;
  stats(): BrokerStats;

  /** Refuses new work with DRAINING, ends sessions, waits for what was submitted, closes the store. */
  close(): Promise<void>;
}
