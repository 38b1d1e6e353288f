import type { CallContext } from '../../src/base/call-context.js';
import { SluiceError } from '../../src/base/errors.js';
import type { StartPosition, SubscriptionConfig, TopicConfig } from '../../src/base/model.js';
import type {
  Broker,
  BrokerStats,
  ConsumeOptions,
  ConsumerInfo,
  ConsumerSession,
  ConsumerSink,
  MessageInfo,
  ProducerInfo,
  PublishBatch,
  PublishDone,
  Publisher,
  ReadOptions,
  ReadSession,
  ReadSink,
  Receipt,
  RedriveOptions,
  RedriveSession,
  RedriveSink,
  ServerInfo,
  SubscriptionChange,
  SubscriptionInfo,
  TopicChange,
  TopicInfo,
} from '../../src/broker/types.js';
import type { Credit, Settlement, SettleResult } from '../../src/core/types.js';
import { Inbox } from './inbox.js';

export interface PublishedBatch {
  readonly batch: PublishBatch;
  readonly done: PublishDone;
}

/** One producer's stream, with its gate and its answers in the hands of the test. */
export class FakePublisher implements Publisher {
  readonly batches = new Inbox<PublishedBatch>();
  readonly closed: Promise<void>;
  /** Undefined: batches wait in `batches` for the test to answer them. */
  answer: ((batch: PublishBatch) => Receipt | SluiceError) | undefined;
  isAwaitingReceipts = false;
  #hasRoom: boolean;
  #ready: (() => void) | undefined;
  #close: () => void = () => {};

  constructor(hasRoom: boolean, answer: FakePublisher['answer']) {
    this.#hasRoom = hasRoom;
    this.answer = answer;
    this.closed = new Promise((resolve) => {
      this.#close = resolve;
    });
  }

  setRoom(hasRoom: boolean): void {
    this.#hasRoom = hasRoom;
    const ready = this.#ready;
    if (!hasRoom || ready === undefined) return;
    this.#ready = undefined;
    ready();
  }

  whenReady(ready: () => void): void {
    if (this.#hasRoom) ready();
    else this.#ready = ready;
  }

  awaitReceipts(): void {
    this.isAwaitingReceipts = true;
  }

  publish(batch: PublishBatch, done: PublishDone): void {
    if (this.answer === undefined) {
      this.batches.push({ batch, done });
      return;
    }
    const result = this.answer(batch);
    if (result instanceof Error) done(result, undefined);
    else queueMicrotask(() => done(undefined, result));
  }

  stop(): void {
    this.#ready = undefined;
  }

  close(): void {
    this.#ready = undefined;
    this.#close();
  }
}

/** One consumer, as the broker sees it. */
export class FakeSession implements ConsumerSession {
  readonly sessionId: string;
  readonly credit: Credit = { messages: 1000, bytes: 1 << 20 };
  readonly ackDeadlineMs = 30_000;
  isHolding = false;
  readonly options: ConsumeOptions;
  readonly sink: ConsumerSink;
  readonly started: Promise<void>;
  readonly closed: Promise<void>;
  start: () => void = () => {};
  close: () => void = () => {};

  constructor(sessionId: string, options: ConsumeOptions, sink: ConsumerSink) {
    this.sessionId = sessionId;
    this.options = options;
    this.sink = sink;
    this.started = new Promise((resolve) => {
      this.start = resolve;
    });
    this.closed = new Promise((resolve) => {
      this.close = resolve;
    });
  }
}

export interface FakeRead {
  readonly options: ReadOptions;
  readonly sink: ReadSink;
  readonly closed: Promise<void>;
}

export interface FakeRedrive {
  readonly options: RedriveOptions;
  readonly sink: RedriveSink;
  readonly closed: Promise<void>;
}

export interface FakeSettle {
  readonly sessionId: string;
  readonly settlements: readonly Settlement[];
  resolve(result: SettleResult): void;
  reject(error: unknown): void;
}

/** A broker without rules or storage: it records what the server asks, and answers what the test says. */
export class FakeBroker implements Broker {
  readonly publishers = new Inbox<FakePublisher>();
  readonly sessions = new Inbox<FakeSession>();
  readonly reads = new Inbox<FakeRead>();
  readonly redrives = new Inbox<FakeRedrive>();
  readonly settles = new Inbox<FakeSettle>();
  readonly topics = new Map<string, TopicInfo>();
  readonly subscriptions = new Map<string, SubscriptionInfo>();
  readonly topicChanges: TopicChange[] = [];
  readonly subscriptionChanges: SubscriptionChange[] = [];
  readonly seeks: { partition: number | undefined; position: StartPosition }[] = [];
  readonly credits: Partial<Credit>[] = [];
  readonly publisherContexts: CallContext[] = [];
  /** New publishers begin with this. */
  hasRoom = true;
  answer: FakePublisher['answer'];
  /** Held until the test lets subscribing go on. */
  subscribeGate: Promise<void> = Promise.resolve();
  #sessionCount = 0;

  openPublisher(context: CallContext): Publisher {
    this.publisherContexts.push(context);
    const publisher = new FakePublisher(this.hasRoom, this.answer);
    this.publishers.push(publisher);
    return publisher;
  }

  async openProducer(_topic: string, producerId: string) {
    return producerId === 'known' ? { epoch: 4, lastSequence: 42 } : { epoch: 1, lastSequence: 0 };
  }

  async getProducer(_topic: string, producerId: string) {
    if (producerId !== 'known') throw new SluiceError('PRODUCER_NOT_FOUND', `no producer "${producerId}"`);
    return { epoch: 3, lastSequence: 42 };
  }

  async subscribe(options: ConsumeOptions, sink: ConsumerSink): Promise<ConsumerSession> {
    await this.subscribeGate;
    if (options.topic === 'missing') throw new SluiceError('TOPIC_NOT_FOUND', 'no topic "missing"');
    this.#sessionCount++;
    const session = new FakeSession(`session-${this.#sessionCount}`, options, sink);
    this.sessions.push(session);
    return session;
  }

  settle(sessionId: string, settlements: readonly Settlement[]): Promise<SettleResult> {
    return new Promise((resolve, reject) => {
      this.settles.push({ sessionId, settlements, resolve, reject });
    });
  }

  setCredit(sessionId: string, credit: Partial<Credit>): Credit {
    if (sessionId === '') throw new SluiceError('SESSION_NOT_FOUND', 'no such session');
    this.credits.push(credit);
    return { messages: 10, bytes: 20, ...credit };
  }

  async read(options: ReadOptions, sink: ReadSink): Promise<ReadSession> {
    let close: () => void = () => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    this.reads.push({ options, sink, closed });
    return { close };
  }

  redrive(options: RedriveOptions, sink: RedriveSink): RedriveSession {
    if (options.subscription === 'missing') {
      throw new SluiceError('SUBSCRIPTION_NOT_FOUND', 'no subscription "missing"');
    }
    let close: () => void = () => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    this.redrives.push({ options, sink, closed });
    return { close };
  }

  async createTopic(config: Omit<TopicConfig, 'createTimeMs'>): Promise<TopicInfo> {
    const partition = { partition: 0, firstOffset: 1, nextOffset: 5, bytes: 77 };
    const info = { config: { ...config, createTimeMs: 1_700_000_000_123 }, partitions: [partition] };
    this.topics.set(config.name, info);
    return info;
  }

  getTopic(name: string): TopicInfo {
    const info = this.topics.get(name);
    if (info === undefined) throw new SluiceError('TOPIC_NOT_FOUND', `no topic "${name}"`);
    return info;
  }

  listTopics(pageSize: number, pageToken: string) {
    return { items: [...this.topics.values()], nextPageToken: `${pageToken}+${pageSize}` };
  }

  async updateTopic(name: string, change: TopicChange): Promise<TopicInfo> {
    this.topicChanges.push(change);
    return this.getTopic(name);
  }

  async deleteTopic(name: string): Promise<void> {
    this.getTopic(name);
    this.topics.delete(name);
  }

  async createSubscription(config: Omit<SubscriptionConfig, 'createTimeMs'>): Promise<SubscriptionInfo> {
    const info = { config: { ...config, createTimeMs: 1_700_000_000_123 }, partitions: [] };
    this.subscriptions.set(config.name, info);
    return info;
  }

  getSubscription(_topic: string, name: string): SubscriptionInfo {
    const info = this.subscriptions.get(name);
    if (info === undefined) throw new SluiceError('SUBSCRIPTION_NOT_FOUND', `no subscription "${name}"`);
    return info;
  }

  listSubscriptions(_topic: string, pageSize: number, pageToken: string) {
    return { items: [...this.subscriptions.values()], nextPageToken: `${pageToken}+${pageSize}` };
  }

  async updateSubscription(
    topic: string,
    name: string,
    change: SubscriptionChange,
  ): Promise<SubscriptionInfo> {
    this.subscriptionChanges.push(change);
    return this.getSubscription(topic, name);
  }

  async deleteSubscription(topic: string, name: string): Promise<void> {
    this.getSubscription(topic, name);
    this.subscriptions.delete(name);
  }

  async seekSubscription(
    topic: string,
    name: string,
    partition: number | undefined,
    position: StartPosition,
  ): Promise<SubscriptionInfo> {
    this.seeks.push({ partition, position });
    return this.getSubscription(topic, name);
  }

  listProducers(): readonly ProducerInfo[] {
    return [
      {
        topic: 'orders',
        producerId: 'till-4',
        peer: '127.0.0.1:6',
        connectTimeMs: 1_700_000_000_000,
        messageCount: 7,
        pendingBatchCount: 3,
        hold: { reason: 'backlog', forMs: 1_500 },
      },
    ];
  }

  listConsumers(): readonly ConsumerInfo[] {
    return [
      {
        sessionId: 'session-1',
        consumerId: 'worker',
        topic: 'orders',
        subscription: 'billing',
        peer: '127.0.0.1:5',
        connectTimeMs: 1_700_000_000_000,
        credit: { messages: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY },
        outstandingMessageCount: 2,
        outstandingBytes: 300,
        partitions: [0, 3],
        wait: { reason: 'transport', forMs: 2_250 },
      },
    ];
  }

  async getMessage(): Promise<MessageInfo> {
    throw new TypeError('a fault that no client may see');
  }

  stats(): BrokerStats {
    throw new Error('a fake broker has no metrics');
  }

  serverInfo(): ServerInfo {
    return {
      version: '1.2.3',
      startTimeMs: 1_700_000_000_000,
      maxPartitionCount: 16,
      maxMessageBytes: 1 << 20,
      maxRequestBytes: 4 << 20,
      defaultDurability: 'synced',
    };
  }

  async close(): Promise<void> {}
}

/** A receipt for a batch in partition 0, from `first` on. */
export function receiptOf(batch: PublishBatch, first: number): Receipt {
  const messageCount = batch.bounds.length / 4;
  const ranges = messageCount === 0 ? [] : [{ partition: 0, first, last: first + messageCount - 1 }];
  return { messageCount, duplicateCount: 0, ranges, durability: 'synced' };
}
