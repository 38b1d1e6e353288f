import { isDeepStrictEqual } from 'node:util';
import { SluiceError } from '../../base/errors.js';
import { endOnDefect } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import type { SubscriptionConfig, TopicConfig } from '../../base/model.js';
import type { CursorState } from '../../base/positions.js';
import { Spreader } from '../../core/routing.js';
import type { CatalogTopic, Change } from '../../storage/types.js';
import { commit } from '../committer.js';
import { DeadLetterBuilder, type DeadLetterTopics } from '../dead-letters/dead-letter-builder.js';
import {
  checkNoDeadLetterCycle,
  type DeadLetterRoute,
  deadLetterCycle,
  formatCycle,
  type RoutesOf,
  routesInCycles,
} from '../dead-letters/dead-letter-cycles.js';
import { SubscriptionRegistry } from '../delivery/subscription-registry.js';
import { type RunnerServices, SubscriptionRunner } from '../delivery/subscription-runner.js';
import { hasLimit } from '../retention/retention.js';
import type { SubscriptionChange, TopicChange } from '../types.js';
import { expectName } from './names.js';
import { PagedMap } from './paging.js';
import { Topic, type TopicServices, topicNotFound } from './topic.js';

/** The services of the catalog, and of the runners that it creates. */
export type CatalogServices = Omit<RunnerServices, 'deadLetterBuilder'>;

/**
 * Topics and subscriptions. A change takes effect at once, so that later calls can rely on it. The promise of the
 * change resolves with its commit.
 */
export class Catalog implements DeadLetterTopics {
  readonly #services: CatalogServices;
  readonly #runnerServices: RunnerServices;
  readonly topics = new PagedMap<Topic>();
  readonly subscriptions = new SubscriptionRegistry();
  readonly #topicsById = new Map<number, Topic>();
  #mostPartitions = 0;
  /** Subscriptions whose dead letters would come back to their own topic. Only an old store can contain them. */
  readonly #inDeadLetterCycles = new Set<SubscriptionRunner>();

  constructor(services: CatalogServices) {
    const { storage, clock } = services;
    this.#services = services;
    const deadLetterBuilder = new DeadLetterBuilder({ storage, clock, topics: this });
    this.#runnerServices = { ...services, deadLetterBuilder };
  }

  /** Fills the catalog from what the store recovered. */
  async recover(): Promise<void> {
    const { storage } = this.#services;
    for (const { topicId, config } of storage.recovered.topics) this.#addTopic(topicId, config);
    const { subscriptions } = storage.recovered;
    const inCycles = routesInCycles(subscriptions.map(({ config }) => config));
    for (let start = 0; start < subscriptions.length; start += limits.cursorReadsAtOnce) {
      const some = subscriptions.slice(start, start + limits.cursorReadsAtOnce);
      const cursors = await Promise.all(some.map((each) => storage.readCursors(each.subscriptionId)));
      for (const [i, { subscriptionId, topicId, config }] of some.entries()) {
        const topic = this.#topicsById.get(topicId);
        if (topic === undefined) continue;
        const runner = this.#addSubscription(
          topic,
          subscriptionId,
          config,
          cursors[i]!,
          inCycles.has(config),
        );
        if (inCycles.has(config)) this.#inDeadLetterCycles.add(runner);
      }
    }
    for (const { config } of this.#inDeadLetterCycles) this.#warnOfCycle(config);
  }

  /** The largest partition count of any topic since the broker started. */
  get mostPartitions(): number {
    return this.#mostPartitions;
  }

  topicById(topicId: number): Topic | undefined {
    return this.#topicsById.get(topicId);
  }

  /** Throws TOPIC_NOT_FOUND. */
  topic(name: string): Topic {
    const topic = this.topics.get(name);
    if (topic === undefined) throw topicNotFound(name);
    return topic;
  }

  /** The topic that a producer or consumer names. Creates it with defaults if the settings allow that. */
  topicForUse(name: string): Topic {
    const topic = this.topics.get(name);
    if (topic !== undefined) return topic;
    if (!this.#services.settings.canAutoCreateTopics) {
      throw new SluiceError('AUTO_CREATE_DISABLED', `there is no topic "${name}": create it first`, {
        metadata: { topic: name },
      });
    }
    expectName(name, 'topic');
    return this.topicOf(name);
  }

  /** The topic for a new subscription. Creates no topic if the subscription would be refused. */
  topicForSubscription(input: DeadLetterRoute): Topic {
    const topic = this.topics.get(input.topic);
    const exists = topic !== undefined && this.subscriptions.get(topic, input.name) !== undefined;
    if (!exists) checkNewSubscription(input, this.#routesOf);
    return this.topicForUse(input.topic);
  }

  /** Throws if dead letters of the subscription would come back to its own topic. */
  checkNoDeadLetterCycle(route: DeadLetterRoute): void {
    checkNoDeadLetterCycle(route, this.#routesOf);
  }

  /** The topic of this name. Creates it with defaults if it does not exist. */
  topicOf(name: string): Topic {
    // Commits are in order: every later use of the new topic waits for a commit behind this one.
    return this.topics.get(name) ?? this.#insertTopic(defaultTopic(name)).topic;
  }

  createTopic(input: Omit<TopicConfig, 'createTimeMs'>): { topic: Topic; durable: Promise<void> } {
    expectName(input.name, 'topic');
    this.#checkTopic(input);
    const existing = this.topics.get(input.name);
    if (existing === undefined) return this.#insertTopic(input);
    if (!isDeepStrictEqual({ ...existing.config, createTimeMs: 0 }, { ...input, createTimeMs: 0 })) {
      throw new SluiceError('TOPIC_EXISTS', `topic "${input.name}" exists with other settings: update it`, {
        metadata: { topic: input.name },
      });
    }
    return { topic: existing, durable: commit(this.#services.storage, { durability: 'synced' }) };
  }

  updateTopic(name: string, change: TopicChange): { topic: Topic; durable: Promise<void> } {
    const topic = this.topic(name);
    const config = { ...topic.config, ...change };
    if (config.partitionCount < topic.config.partitionCount) {
      throw new SluiceError(
        'INVALID_FIELD',
        `a topic never loses partitions: "${name}" has ${topic.config.partitionCount}`,
        { subject: 'partitionCount' },
      );
    }
    this.#checkTopic(config);
    const durable = this.#putTopic(topic.topicId, config);
    const added = config.partitionCount - topic.config.partitionCount;
    topic.config = config;
    topic.backlog.limitChanged();
    for (let i = added; i > 0; i--) {
      for (const subscription of this.subscriptions.of(topic).values()) {
        subscription.addPartition(config.partitionCount - i);
      }
    }
    return { topic, durable };
  }

  deleteTopic(name: string): Promise<void> {
    const topic = this.topic(name);
    const subscriptions = [...this.subscriptions.of(topic).values()];
    const durable = commit(this.#services.storage, {
      durability: 'synced',
      changes: [
        { kind: 'delete-topic', topicId: topic.topicId },
        ...subscriptions.map(({ subscriptionId }) => deletionOf(subscriptionId)),
      ],
    });
    this.topics.delete(name);
    this.#topicsById.delete(topic.topicId);
    this.subscriptions.removeTopic(topic);
    for (const subscription of subscriptions) this.#inDeadLetterCycles.delete(subscription);
    topic.delete();
    this.#leaveBrokenCycles();
    return durable;
  }

  /** Throws TOPIC_NOT_FOUND or SUBSCRIPTION_NOT_FOUND. */
  subscription(topicName: string, name: string): SubscriptionRunner {
    const runner = this.subscriptions.get(this.topic(topicName), name);
    if (runner !== undefined) return runner;
    throw new SluiceError('SUBSCRIPTION_NOT_FOUND', `topic "${topicName}" has no subscription "${name}"`, {
      metadata: { topic: topicName, subscription: name },
    });
  }

  /**
   * Creates a subscription that does not exist yet, with these cursors. A partition without a cursor starts at its
   * first offset.
   */
  insertSubscription(
    topic: Topic,
    input: Omit<SubscriptionConfig, 'createTimeMs'>,
    cursors: ReadonlyMap<number, CursorState>,
  ): { runner: SubscriptionRunner; durable: Promise<void> } {
    const { storage, clock } = this.#services;
    checkNewSubscription(input, this.#routesOf);
    const config = { ...input, createTimeMs: clock.wallMs() };
    const subscriptionId = storage.nextSubscriptionId();
    const runner = this.#addSubscription(topic, subscriptionId, config, cursors, false);
    const durable = commit(storage, {
      durability: 'synced',
      changes: [
        { kind: 'subscription', subscriptionId, topicId: topic.topicId, config },
        ...Array.from(cursors, ([partition, state]) => firstCursor(subscriptionId, partition, state)),
      ],
    });
    return { runner, durable };
  }

  /** Throws SUBSCRIPTION_EXISTS unless the existing subscription equals the requested one. */
  checkSame(existing: SubscriptionConfig, input: Omit<SubscriptionConfig, 'createTimeMs'>): void {
    if (isDeepStrictEqual({ ...existing, createTimeMs: 0 }, { ...input, createTimeMs: 0 })) return;
    throw new SluiceError(
      'SUBSCRIPTION_EXISTS',
      `subscription "${input.name}" of topic "${input.topic}" exists with other settings: update it`,
      { metadata: { topic: input.topic, subscription: input.name } },
    );
  }

  updateSubscription(
    topicName: string,
    name: string,
    change: SubscriptionChange,
  ): { runner: SubscriptionRunner; durable: Promise<void> } {
    const runner = this.subscription(topicName, name);
    const config = { ...runner.config, ...change };
    if (change.deadLetter !== undefined) checkDeadLetters(config, this.#routesOf);
    const durable = commit(this.#services.storage, {
      durability: 'synced',
      changes: [
        {
          kind: 'subscription',
          subscriptionId: runner.subscriptionId,
          topicId: runner.topic.topicId,
          config,
        },
      ],
    });
    runner.setConfig(config);
    this.#leaveBrokenCycles();
    return { runner, durable };
  }

  deleteSubscription(topicName: string, name: string): Promise<void> {
    const runner = this.subscription(topicName, name);
    const durable = commit(this.#services.storage, {
      durability: 'synced',
      changes: [deletionOf(runner.subscriptionId)],
    });
    this.subscriptions.remove(runner);
    runner.topic.backlog.settled();
    this.#inDeadLetterCycles.delete(runner);
    this.#leaveBrokenCycles();
    runner.end(
      new SluiceError(
        'SUBSCRIPTION_DELETED',
        `subscription "${name}" of topic "${topicName}" was deleted while this stream was open`,
      ),
    );
    return durable;
  }

  readonly #routesOf: RoutesOf = (topicName) => {
    const topic = this.topics.get(topicName);
    if (topic === undefined) return [];
    return Array.from(this.subscriptions.of(topic).values(), ({ config }) => config);
  };

  #warnOfCycle(config: SubscriptionConfig): void {
    const cycle = deadLetterCycle(config, this.#routesOf) ?? [];
    this.#services.logger.warn(
      { topic: config.topic, subscription: config.name },
      `dead letters of this subscription would come back to its topic (${formatCycle(cycle)}): ` +
        'it delivers failed messages again without end until it has another dead-letter topic',
    );
  }

  /** A change may have broken a cycle. It can't have made one. */
  #leaveBrokenCycles(): void {
    for (const runner of this.#inDeadLetterCycles) {
      if (deadLetterCycle(runner.config, this.#routesOf) !== undefined) continue;
      this.#inDeadLetterCycles.delete(runner);
      runner.leaveDeadLetterCycle();
    }
  }

  #checkTopic(config: Omit<TopicConfig, 'createTimeMs'>): void {
    const { maxPartitionCount } = this.#services.settings;
    if (!isWithin(config.partitionCount, 1, maxPartitionCount)) {
      throw new SluiceError('INVALID_FIELD', `partition_count must be from 1 to ${maxPartitionCount}`, {
        subject: 'partitionCount',
        metadata: { maxPartitionCount: String(maxPartitionCount) },
      });
    }
  }

  #insertTopic(input: Omit<TopicConfig, 'createTimeMs'>): { topic: Topic; durable: Promise<void> } {
    if (this.topics.size >= limits.maxTopics) {
      throw new SluiceError('TOO_MANY_TOPICS', `there are ${limits.maxTopics} topics already: delete some`);
    }
    const config = { ...input, createTimeMs: this.#services.clock.wallMs() };
    const topicId = this.#services.storage.nextTopicId();
    const durable = this.#putTopic(topicId, config);
    if (!hasLimit(config.retention)) {
      this.#services.logger.info(
        { topic: config.name },
        'topic created without a retention limit: its messages fill the disk until producers are held',
      );
    }
    return { topic: this.#addTopic(topicId, config), durable };
  }

  #putTopic(topicId: number, config: TopicConfig): Promise<void> {
    const record: CatalogTopic = { topicId, config };
    const durable = commit(this.#services.storage, {
      durability: 'synced',
      changes: [{ kind: 'topic', ...record }],
    });
    // The caller awaits the promise if it needs the failure. The store reports its own failure to the broker.
    durable.catch(endOnDefect);
    return durable;
  }

  #topicServices(): TopicServices {
    const { storage, logger, alarm, clock, settings } = this.#services;
    const nowMs = () => clock.monotonicMs();
    const { defaultDurability } = settings;
    return { storage, logger, alarm, nowMs, spreader: new Spreader(), defaultDurability };
  }

  #addTopic(topicId: number, config: TopicConfig): Topic {
    const topic = new Topic(topicId, config, this.#topicServices());
    this.topics.set(config.name, topic);
    this.#mostPartitions = Math.max(this.#mostPartitions, config.partitionCount);
    this.#topicsById.set(topicId, topic);
    return topic;
  }

  #addSubscription(
    topic: Topic,
    subscriptionId: number,
    config: SubscriptionConfig,
    cursors: ReadonlyMap<number, CursorState>,
    isInDeadLetterCycle: boolean,
  ): SubscriptionRunner {
    const runner = new SubscriptionRunner(
      this.#runnerServices,
      topic,
      subscriptionId,
      config,
      cursors,
      isInDeadLetterCycle,
    );
    this.subscriptions.add(runner);
    topic.backlog.limitChanged();
    return runner;
  }
}

/** The configuration of an auto-created topic: one partition, so a total order. */
export function defaultTopic(name: string): Omit<TopicConfig, 'createTimeMs'> {
  return {
    name,
    partitionCount: 1,
    retention: { maxAgeMs: 0, maxBytes: 0, untilAcknowledged: false, dropUnacknowledged: false },
    backlogLimit: { maxBytes: 0, maxMessages: 0, whenFull: 'block' },
    durability: undefined,
  };
}

function deletionOf(subscriptionId: number): Change {
  return { kind: 'delete-subscription', subscriptionId };
}

function firstCursor(subscriptionId: number, partition: number, state: CursorState): Change {
  return { kind: 'cursor', subscriptionId, partition, state: () => state };
}

/** Also false for what is no whole number. */
function isWithin(value: number, min: number, max: number): boolean {
  return Number.isInteger(value) && value >= min && value <= max;
}

/** Throws INVALID_NAME, or what `checkNoDeadLetterCycle` throws. */
function checkNewSubscription(input: DeadLetterRoute, routesOf: RoutesOf): void {
  expectName(input.name, 'subscription');
  checkDeadLetters(input, routesOf);
}

function checkDeadLetters(route: DeadLetterRoute, routesOf: RoutesOf): void {
  const { topic } = route.deadLetter;
  // Empty: the default, which is made of two valid names and may be longer than a name.
  if (topic !== '') expectName(topic, 'dead-letter topic');
  checkNoDeadLetterCycle(route, routesOf);
}
