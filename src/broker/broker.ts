import { randomUUID } from 'node:crypto';
import type { CallContext } from '../base/call-context.js';
import type { Clock } from '../base/clock.js';
import { SluiceError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import type { SubscriptionConfig, TopicConfig } from '../base/model.js';
import type { Random } from '../base/random.js';
import type { Credit, Settlement, SettleResult } from '../core/types.js';
import type { Storage, StorageListener } from '../storage/types.js';
import { Alarm } from './alarm.js';
import { Counters } from './counters.js';
import { Redrive } from './dead-letters/redrive.js';
import { FramePool } from './delivery/frame-pool.js';
import { Heartbeats } from './delivery/heartbeats.js';
import { type SubscriptionRunner, sessionNotFound } from './delivery/subscription-runner.js';
import { Inspector } from './inspection/inspector.js';
import { FreeDiskWatch } from './publishing/free-disk-watch.js';
import { findProducer, openProducer } from './publishing/open-producer.js';
import { ProducerTable } from './publishing/producer-table.js';
import { PublishGate } from './publishing/publish-gate.js';
import { StreamPublisher } from './publishing/publisher.js';
import { LogStream } from './reading/log-stream.js';
import { Retention } from './retention/retention.js';
import type { BrokerSettings } from './settings.js';
import { addSubscription, defaultSubscription } from './topics/add-subscription.js';
import { Catalog } from './topics/catalog.js';
import { expectName } from './topics/names.js';
import { startOffsets } from './topics/start-offsets.js';
import { checkPartition, topicNotFound } from './topics/topic.js';
import type {
  Broker,
  BrokerStats,
  ClaimOptions,
  ConsumeOptions,
  ConsumerInfo,
  ConsumerSession,
  ConsumerSink,
  MessageInfo,
  Page,
  ProducerInfo,
  ProducerPlace,
  Publisher,
  ReadOptions,
  ReadSession,
  ReadSink,
  RedriveOptions,
  RedriveSession,
  RedriveSink,
  ServerInfo,
  SubscriptionChange,
  SubscriptionInfo,
  TopicChange,
  TopicInfo,
} from './types.js';

export interface BrokerServices {
  /** The open store. The broker listens to it, and closes it. */
  readonly storage: Storage;
  /** Free bytes on the disk of the store. */
  readonly freeDiskBytes: () => Promise<number>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Recovers topics and subscriptions from the store, and is ready to serve. */
export async function createBroker(settings: BrokerSettings, services: BrokerServices): Promise<Broker> {
  for (const warning of services.storage.warnings) services.logger.warn({}, warning);
  const broker = new StoredBroker(settings, services);
  await broker.start();
  return broker;
}

class StoredBroker implements Broker, StorageListener {
  readonly #settings: BrokerSettings;
  readonly #services: BrokerServices;
  readonly #storage: Storage;
  readonly #catalog: Catalog;
  readonly #producers: ProducerTable;
  readonly #gate: PublishGate;
  readonly #alarm: Alarm;
  readonly #disk: FreeDiskWatch;
  readonly #retention: Retention;
  readonly #counters = new Counters();
  readonly #frames: FramePool;
  readonly #publishers = new Set<StreamPublisher>();
  readonly #sessions = new Map<string, SubscriptionRunner>();
  readonly #heartbeats: Heartbeats;
  readonly #inspector: Inspector;
  readonly #startTimeMs: number;
  #isDraining = false;

  constructor(settings: BrokerSettings, services: BrokerServices) {
    const { storage, clock, random, logger } = services;
    this.#settings = settings;
    this.#services = services;
    this.#storage = storage;
    this.#startTimeMs = clock.wallMs();
    this.#alarm = new Alarm(clock);
    this.#heartbeats = new Heartbeats({ clock, alarm: this.#alarm, sessions: this.#sessions });
    this.#producers = new ProducerTable(storage);
    this.#gate = new PublishGate({ clock, roomBytes: () => storage.roomBytes });
    this.#frames = new FramePool(settings.frameBytes);
    this.#catalog = new Catalog({
      storage,
      settings,
      clock,
      random,
      logger,
      alarm: this.#alarm,
      frames: this.#frames,
      counters: this.#counters,
      sessions: this.#sessions,
    });
    this.#disk = new FreeDiskWatch({
      clock,
      logger,
      minFreeBytes: settings.minFreeDiskBytes,
      probe: services.freeDiskBytes,
      progress: storage,
      topics: this.#catalog,
    });
    const { topics } = this.#catalog;
    this.#retention = new Retention({ storage, clock, logger, alarm: this.#alarm, topics });
    const parts = { storage, catalog: this.#catalog, publishers: this.#publishers };
    this.#inspector = new Inspector({ ...parts, counters: this.#counters, frames: this.#frames });
  }

  async start(): Promise<void> {
    this.#storage.listen(this);
    await this.#catalog.recover();
    await this.#disk.start();
    this.#heartbeats.wake(this.#services.clock.monotonicMs());
    this.#retention.wake();
  }

  grown(topicId: number, partition: number, endOffset: number): void {
    this.#catalog.topicById(topicId)?.grown(partition, endOffset);
  }

  room(): void {
    this.#gate.admit();
  }

  // --- Publishing -----------------------------------------------------------------------------------------

  openPublisher(context: CallContext): Publisher {
    const services = {
      storage: this.#storage,
      catalog: this.#catalog,
      producers: this.#producers,
      gate: this.#gate,
      disk: this.#disk,
      clock: this.#services.clock,
      counters: this.#counters,
      checkServing: () => this.#checkServing(),
      closed: (closed: StreamPublisher) => {
        this.#publishers.delete(closed);
      },
    };
    const publisher = new StreamPublisher(services, context);
    this.#publishers.add(publisher);
    return publisher;
  }

  async openProducer(topicName: string, producerId: string, options: ClaimOptions): Promise<ProducerPlace> {
    this.#checkServing();
    expectName(producerId, 'producer');
    if (this.#disk.isClosed && this.#catalog.topics.get(topicName) === undefined) throw this.#disk.refusal();
    const topic = this.#catalog.topicForUse(topicName);
    return openProducer(this.#storage, this.#producers, topic, producerId, options);
  }

  async getProducer(topicName: string, producerId: string): Promise<ProducerPlace> {
    const topic = this.#catalog.topic(topicName);
    return findProducer(this.#storage, this.#producers, topic, producerId);
  }

  // --- Consuming ------------------------------------------------------------------------------------------

  async subscribe(options: ConsumeOptions, sink: ConsumerSink): Promise<ConsumerSession> {
    this.#checkServing();
    const input = defaultSubscription(options.topic, options.subscription);
    const topic = this.#catalog.topicForSubscription(input);
    let runner = this.#catalog.subscriptions.get(topic, options.subscription);
    if (runner === undefined) {
      ({ runner } = await addSubscription(this.#storage, this.#catalog, topic, input, options.start));
      this.#checkServing();
    }
    const credit = {
      messages: options.credit.messages ?? limits.defaultOutstandingMessages,
      bytes: options.credit.bytes ?? limits.defaultOutstandingBytes,
    };
    const sessionId = randomUUID();
    const opened = runner;
    const link = opened.openSession(sessionId, options, sink);
    this.#sessions.set(sessionId, opened);
    return {
      sessionId,
      credit,
      ackDeadlineMs: opened.ackDeadlineMs,
      get isHolding() {
        return (opened.sessionStatus(sessionId)?.outstandingMessageCount ?? 0) > 0;
      },
      start: () => opened.startSession(link, credit),
      close: (end) => opened.closeSession(sessionId, end),
    };
  }

  async settle(
    sessionId: string,
    settlements: readonly Settlement[],
    lastDeliveryId?: number,
  ): Promise<SettleResult> {
    const result = await this.#session(sessionId).settle(sessionId, settlements, lastDeliveryId);
    this.#counters.settledMessages += result.settledCount;
    return result;
  }

  setCredit(sessionId: string, credit: Partial<Credit>): Credit {
    return this.#session(sessionId).setCredit(sessionId, credit);
  }

  async read(options: ReadOptions, sink: ReadSink): Promise<ReadSession> {
    this.#checkServing();
    const topic = this.#catalog.topic(options.topic);
    if (options.partition !== undefined) checkPartition(topic, options.partition);
    const starts = await startOffsets(this.#storage, topic, options.partition, options.start);
    // The topic may have been deleted while the position was looked up.
    if (topic.isDeleted) throw topicNotFound(topic.name);
    const frames = this.#frames.open();
    const stream = new LogStream(this.#storage, topic, sink, { ...options, starts, frames });
    stream.start();
    return stream;
  }

  redrive(options: RedriveOptions, sink: RedriveSink): RedriveSession {
    this.#checkServing();
    const services = {
      storage: this.#storage,
      clock: this.#services.clock,
      gate: this.#gate,
      findTopic: (name: string) => this.#catalog.topics.get(name),
      checkAccepting: () => this.#checkAccepting(),
    };
    const runner = this.#catalog.subscription(options.topic, options.subscription);
    const redrive = new Redrive(services, runner, options, sink);
    redrive.start();
    return redrive;
  }

  // --- Topics ---------------------------------------------------------------------------------------------

  async createTopic(config: Omit<TopicConfig, 'createTimeMs'>): Promise<TopicInfo> {
    this.#checkServing();
    const { topic, durable } = this.#catalog.createTopic(config);
    await durable;
    return this.#inspector.topicInfo(topic);
  }

  getTopic(name: string): TopicInfo {
    return this.#inspector.topicInfo(this.#catalog.topic(name));
  }

  listTopics(pageSize: number, pageToken: string): Page<TopicInfo> {
    const { items, nextPageToken } = this.#catalog.topics.page(pageSize, pageToken);
    return { items: items.map((topic) => this.#inspector.topicInfo(topic)), nextPageToken };
  }

  async updateTopic(name: string, change: TopicChange): Promise<TopicInfo> {
    this.#checkServing();
    const { topic, durable } = this.#catalog.updateTopic(name, change);
    await durable;
    return this.#inspector.topicInfo(topic);
  }

  async deleteTopic(name: string): Promise<void> {
    this.#checkServing();
    await this.#catalog.deleteTopic(name);
  }

  // --- Subscriptions --------------------------------------------------------------------------------------

  async createSubscription(
    config: Omit<SubscriptionConfig, 'createTimeMs'>,
    start: Parameters<Broker['createSubscription']>[1],
  ): Promise<SubscriptionInfo> {
    this.#checkServing();
    const topic = this.#catalog.topicForSubscription(config);
    const { runner, isNew } = await addSubscription(this.#storage, this.#catalog, topic, config, start);
    // A subscription that this call created may have been changed by another call before its commit was answered.
    if (!isNew) this.#catalog.checkSame(runner.config, config);
    return runner.info();
  }

  getSubscription(topic: string, name: string): SubscriptionInfo {
    return this.#catalog.subscription(topic, name).info();
  }

  listSubscriptions(topicName: string, pageSize: number, pageToken: string): Page<SubscriptionInfo> {
    const { subscriptions } = this.#catalog;
    const runners = topicName === '' ? subscriptions.all : subscriptions.of(this.#catalog.topic(topicName));
    const { items, nextPageToken } = runners.page(pageSize, pageToken);
    return { items: items.map((runner) => runner.info()), nextPageToken };
  }

  async updateSubscription(
    topic: string,
    name: string,
    change: SubscriptionChange,
  ): Promise<SubscriptionInfo> {
    this.#checkServing();
    const { runner, durable } = this.#catalog.updateSubscription(topic, name, change);
    await durable;
    return runner.info();
  }

  async deleteSubscription(topic: string, name: string): Promise<void> {
    this.#checkServing();
    await this.#catalog.deleteSubscription(topic, name);
  }

  async seekSubscription(
    topicName: string,
    name: string,
    partition: number | undefined,
    position: Parameters<Broker['seekSubscription']>[3],
  ): Promise<SubscriptionInfo> {
    this.#checkServing();
    const runner = this.#catalog.subscription(topicName, name);
    if (partition !== undefined) checkPartition(runner.topic, partition);
    await runner.seek(await startOffsets(this.#storage, runner.topic, partition, position));
    return runner.info();
  }

  // --- Looking inside -------------------------------------------------------------------------------------

  listProducers(topicName: string): ProducerInfo[] {
    return this.#inspector.producers(topicName);
  }

  listConsumers(topicName: string, subscriptionName: string): ConsumerInfo[] {
    return this.#inspector.consumers(topicName, subscriptionName);
  }

  getMessage(topicName: string, partition: number, offset: number): Promise<MessageInfo> {
    return this.#inspector.message(topicName, partition, offset);
  }

  stats(): BrokerStats {
    return this.#inspector.stats();
  }

  serverInfo(): ServerInfo {
    const { version, maxPartitionCount, maxMessageBytes, maxRequestBytes, defaultDurability } =
      this.#settings;
    const startTimeMs = this.#startTimeMs;
    return { version, startTimeMs, maxPartitionCount, maxMessageBytes, maxRequestBytes, defaultDurability };
  }

  async close(): Promise<void> {
    this.#isDraining = true;
    this.#alarm.stop();
    this.#disk.stop();
    this.#retention.stop();
    try {
      for (const runner of this.#catalog.subscriptions.all.values()) runner.endSessions(draining());
      for (const topic of this.#catalog.topics.values()) {
        for (const follower of [...topic.followers]) follower.topicDeleted(draining());
      }
    } finally {
      await this.#storage.close();
    }
  }

  // --- The machinery --------------------------------------------------------------------------------------

  #checkServing(): void {
    if (this.#isDraining) throw draining();
  }

  #checkAccepting(): void {
    this.#checkServing();
    if (this.#disk.isClosed) throw this.#disk.refusal();
  }

  #session(sessionId: string): SubscriptionRunner {
    const runner = this.#sessions.get(sessionId);
    if (runner === undefined) throw sessionNotFound(sessionId);
    return runner;
  }
}

function draining(): SluiceError {
  return new SluiceError('DRAINING', 'the broker is shutting down: connect again', { retryAfterMs: 1_000 });
}
