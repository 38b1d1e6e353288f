import type { CallContext } from '../base/call-context.js';
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/logger.js';
import type { SubscriptionConfig, TopicConfig } from '../base/model.js';
import type { Random } from '../base/random.js';
import { draining } from '../base/shared-errors.js';
import type { Credit, Settlement, SettleResult } from '../core/types.js';
import type { Storage, StorageListener } from '../storage/types.js';
import { FreeDiskWatch } from './admission/free-disk-watch.js';
import { PublishGate } from './admission/publish-gate.js';
import { Alarm } from './alarm.js';
import { expectWhole } from './checks.js';
import { Counters } from './counters.js';
import { DeadLetterBuilder } from './dead-letters/dead-letter-builder.js';
import { Redrive } from './dead-letters/redrive.js';
import { addSubscription, defaultSubscription } from './delivery/add-subscription.js';
import { openConsumerSession } from './delivery/consumer-session.js';
import { Heartbeats } from './delivery/heartbeats.js';
import { SubscriptionCatalog } from './delivery/subscription-catalog.js';
import { checkConsumerId, checkCredit } from './delivery/subscription-checks.js';
import { SubscriptionRegistry } from './delivery/subscription-registry.js';
import { FramePool } from './frames/frame-pool.js';
import { Inspector } from './inspection/inspector.js';
import { findProducer, openProducer } from './publishing/open-producer.js';
import { ProducerTable } from './publishing/producer-table.js';
import { StreamPublisher } from './publishing/publisher.js';
import { producerFenced } from './publishing/sequence-refusal.js';
import { LogStream } from './reading/log-stream.js';
import { Retention } from './retention/retention.js';
import { Serving } from './serving.js';
import type { BrokerSettings } from './settings.js';
import { expectName } from './topics/names.js';
import { startOffsets } from './topics/start-offsets.js';
import { checkPartition, topicNotFound } from './topics/topic.js';
import { TopicCatalog } from './topics/topic-catalog.js';
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
  /** The open store. A broker that was created listens to it, and closes it. */
  readonly storage: Storage;
  /** Free bytes on the disk of the store. */
  readonly freeDiskBytes: () => Promise<number>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Recovers topics and subscriptions from the store, and is ready to serve. If it rejects, the caller closes the store. */
export async function createBroker(settings: BrokerSettings, services: BrokerServices): Promise<Broker> {
  const broker = new StoredBroker(settings, services);
  try {
    await broker.start();
  } catch (error) {
    broker.stopTimers();
    throw error;
  }
  return broker;
}

class StoredBroker implements Broker, StorageListener {
  readonly #settings: BrokerSettings;
  readonly #services: BrokerServices;
  readonly #storage: Storage;
  readonly #topics: TopicCatalog;
  readonly #subscriptions: SubscriptionCatalog;
  readonly #producers: ProducerTable;
  readonly #gate: PublishGate;
  readonly #alarm: Alarm;
  readonly #disk: FreeDiskWatch;
  readonly #retention: Retention;
  readonly #counters = new Counters();
  readonly #frames: FramePool;
  readonly #publishers = new Set<StreamPublisher>();
  readonly #heartbeats: Heartbeats;
  readonly #inspector: Inspector;
  readonly #startTimeMs: number;
  readonly #serving = new Serving();

  constructor(settings: BrokerSettings, services: BrokerServices) {
    const { storage, clock, random, logger } = services;
    this.#settings = settings;
    this.#services = services;
    this.#storage = storage;
    this.#startTimeMs = clock.wallMs();
    this.#alarm = new Alarm(clock);
    this.#producers = new ProducerTable(storage);
    this.#gate = new PublishGate({ clock, queue: storage });
    this.#frames = new FramePool(settings.frameBytes);
    const alarm = this.#alarm;
    const shared = { storage, settings, clock, random, logger, alarm };
    const topics = new TopicCatalog(shared);
    this.#topics = topics;
    const registry = new SubscriptionRegistry(topics);
    this.#subscriptions = new SubscriptionCatalog({
      ...shared,
      topics,
      registry,
      deadLetterBuilder: new DeadLetterBuilder({ storage, clock, topics, routes: registry }),
      frames: this.#frames,
      counters: this.#counters,
    });
    this.#heartbeats = new Heartbeats({ clock, alarm, sessions: this.#subscriptions.sessions });
    this.#disk = new FreeDiskWatch({
      clock,
      logger,
      minFreeBytes: settings.minFreeDiskBytes,
      probe: services.freeDiskBytes,
      progress: storage,
      topics,
    });
    this.#retention = new Retention({ storage, clock, logger, alarm, topics });
    this.#inspector = new Inspector({
      storage,
      topics,
      subscriptions: this.#subscriptions,
      publishers: this.#publishers,
      counters: this.#counters,
      frames: this.#frames,
    });
  }

  async start(): Promise<void> {
    this.#storage.listen(this);
    this.#topics.recover();
    await this.#subscriptions.recover();
    await this.#disk.start();
    this.#subscriptions.resume();
    this.#heartbeats.wake(this.#services.clock.monotonicMs());
    this.#retention.wake();
  }

  grown(topicId: number, partition: number, endOffset: number): void {
    this.#topics.byId(topicId)?.grown(partition, endOffset);
  }

  room(): void {
    this.#gate.admit();
  }

  // --- Publishing -----------------------------------------------------------------------------------------

  openPublisher(context: CallContext): Publisher {
    return new StreamPublisher(
      {
        storage: this.#storage,
        topics: this.#topics,
        producers: this.#producers,
        gate: this.#gate,
        disk: this.#disk,
        clock: this.#services.clock,
        counters: this.#counters,
        serving: this.#serving,
        publishers: this.#publishers,
      },
      context,
    );
  }

  async openProducer(topicName: string, producerId: string, options: ClaimOptions): Promise<ProducerPlace> {
    this.#serving.check();
    expectName(producerId, 'producer');
    if (this.#topics.find(topicName) === undefined) this.#disk.check();
    const { currentEpoch } = options;
    const topic = this.#topics.forUse(topicName, () => {
      if (currentEpoch !== undefined) throw producerFenced(producerId, currentEpoch, undefined);
    });
    return openProducer(this.#storage, this.#producers, topic, producerId, options);
  }

  async getProducer(topicName: string, producerId: string): Promise<ProducerPlace> {
    const topic = this.#topics.get(topicName);
    return findProducer(this.#storage, this.#producers, topic, producerId);
  }

  // --- Consuming ------------------------------------------------------------------------------------------

  async subscribe(options: ConsumeOptions, sink: ConsumerSink): Promise<ConsumerSession> {
    this.#serving.check();
    checkConsumerId(options.consumerId);
    checkCredit(options.credit);
    const input = defaultSubscription(options.topic, options.subscription);
    const topic = this.#subscriptions.topicFor(input, options.start);
    let runner = this.#subscriptions.find(topic, options.subscription);
    if (runner === undefined) {
      ({ runner } = await addSubscription(this.#storage, this.#subscriptions, topic, input, options.start));
      this.#serving.check();
    }
    return openConsumerSession(runner, options, sink);
  }

  async settle(
    sessionId: string,
    settlements: readonly Settlement[],
    lastDeliveryId?: number,
  ): Promise<SettleResult> {
    const result = await this.#subscriptions
      .bySession(sessionId)
      .settle(sessionId, settlements, lastDeliveryId);
    this.#counters.settledMessages += result.settledCount;
    return result;
  }

  setCredit(sessionId: string, credit: Partial<Credit>): Credit {
    checkCredit(credit);
    return this.#subscriptions.bySession(sessionId).setCredit(sessionId, credit);
  }

  async read(options: ReadOptions, sink: ReadSink): Promise<ReadSession> {
    this.#serving.check();
    expectWhole(options.limit, 'limit', 'the limit of messages');
    const topic = this.#topics.get(options.topic);
    if (options.partition !== undefined) checkPartition(topic.config, options.partition);
    const starts = await startOffsets(this.#storage, topic, options.partition, options.start);
    // The topic may have been deleted since the position was found.
    if (topic.isDeleted) throw topicNotFound(topic.name);
    const frames = this.#frames.open();
    const stream = new LogStream(this.#storage, topic, sink, { ...options, starts, frames });
    stream.start();
    return stream;
  }

  redrive(options: RedriveOptions, sink: RedriveSink): RedriveSession {
    this.#serving.check();
    const services = {
      storage: this.#storage,
      clock: this.#services.clock,
      gate: this.#gate,
      serving: this.#serving,
      disk: this.#disk,
      topics: this.#topics,
    };
    const runner = this.#subscriptions.get(options.topic, options.subscription);
    const redrive = new Redrive(services, runner, options, sink);
    redrive.start();
    return redrive;
  }

  // --- Topics ---------------------------------------------------------------------------------------------

  async createTopic(config: Omit<TopicConfig, 'createTimeMs'>): Promise<TopicInfo> {
    this.#serving.check();
    const { topic, durable } = this.#topics.create(config);
    await durable;
    return this.#inspector.topicInfo(topic);
  }

  getTopic(name: string): TopicInfo {
    return this.#inspector.topicInfo(this.#topics.get(name));
  }

  listTopics(pageSize: number, pageToken: string): Page<TopicInfo> {
    const { items, nextPageToken } = this.#topics.page(pageSize, pageToken);
    return { items: items.map((topic) => this.#inspector.topicInfo(topic)), nextPageToken };
  }

  async updateTopic(name: string, change: TopicChange): Promise<TopicInfo> {
    this.#serving.check();
    const { topic, durable } = this.#topics.update(name, change);
    await durable;
    return this.#inspector.topicInfo(topic);
  }

  async deleteTopic(name: string): Promise<void> {
    this.#serving.check();
    await this.#subscriptions.deleteTopic(name);
  }

  // --- Subscriptions --------------------------------------------------------------------------------------

  async createSubscription(
    config: Omit<SubscriptionConfig, 'createTimeMs'>,
    start: Parameters<Broker['createSubscription']>[1],
  ): Promise<SubscriptionInfo> {
    this.#serving.check();
    const topic = this.#subscriptions.topicFor(config, start);
    const { runner, isNew } = await addSubscription(this.#storage, this.#subscriptions, topic, config, start);
    // A subscription that this call created may have been changed by another call before its commit was answered.
    if (!isNew) this.#subscriptions.checkSame(runner.config, config);
    return runner.info();
  }

  getSubscription(topic: string, name: string): SubscriptionInfo {
    return this.#subscriptions.get(topic, name).info();
  }

  listSubscriptions(topicName: string, pageSize: number, pageToken: string): Page<SubscriptionInfo> {
    const subscriptions = this.#subscriptions;
    const runners = topicName === '' ? subscriptions.all : subscriptions.of(this.#topics.get(topicName));
    const { items, nextPageToken } = runners.page(pageSize, pageToken);
    return { items: items.map((runner) => runner.info()), nextPageToken };
  }

  async updateSubscription(
    topic: string,
    name: string,
    change: SubscriptionChange,
  ): Promise<SubscriptionInfo> {
    this.#serving.check();
    const { runner, durable } = this.#subscriptions.update(topic, name, change);
    await durable;
    return runner.info();
  }

  async deleteSubscription(topic: string, name: string): Promise<void> {
    this.#serving.check();
    await this.#subscriptions.delete(topic, name);
  }

  async seekSubscription(
    topicName: string,
    name: string,
    partition: number | undefined,
    position: Parameters<Broker['seekSubscription']>[3],
  ): Promise<SubscriptionInfo> {
    this.#serving.check();
    const runner = this.#subscriptions.get(topicName, name);
    if (partition !== undefined) checkPartition(runner.topic.config, partition);
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
    this.#serving.drain();
    this.stopTimers();
    try {
      this.#subscriptions.endSessions(draining());
      for (const topic of this.#topics.values()) topic.endFollowers(draining());
    } finally {
      await this.#storage.close();
    }
  }

  stopTimers(): void {
    this.#alarm.stop();
    this.#disk.stop();
    this.#retention.stop();
  }
}
