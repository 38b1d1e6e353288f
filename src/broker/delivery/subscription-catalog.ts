import { isDeepStrictEqual } from 'node:util';
import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { StartPosition, SubscriptionConfig } from '../../base/model.js';
import type { CursorState } from '../../base/positions.js';
import { sessionNotFound } from '../../base/shared-errors.js';
import type { Change } from '../../storage/types.js';
import { commit } from '../committer.js';
import {
  checkNoDeadLetterCycle,
  deadLetterCycle,
  formatCycle,
  routesInCycles,
} from '../dead-letters/dead-letter-cycles.js';
import type { DeadLetterRoute } from '../dead-letters/dead-letter-topic.js';
import { expectName } from '../topics/names.js';
import type { PagedMap } from '../topics/paging.js';
import { checkEmptyStart, checkPosition } from '../topics/start-offsets.js';
import type { Topic } from '../topics/topic.js';
import type { TopicCatalog } from '../topics/topic-catalog.js';
import type { SubscriptionChange } from '../types.js';
import { checkDeliverySettings } from './subscription-checks.js';
import type { SubscriptionRegistry } from './subscription-registry.js';
import { type RunnerServices, SubscriptionRunner, subscriptionNotFound } from './subscription-runner.js';

export interface SubscriptionCatalogServices extends Omit<RunnerServices, 'sessions'> {
  readonly topics: TopicCatalog;
  readonly registry: SubscriptionRegistry;
}

/**
 * The subscriptions and their sessions. A change takes effect at once, so that later calls can rely on it. The
 * promise of the change resolves with its commit.
 */
export class SubscriptionCatalog {
  readonly #services: RunnerServices;
  readonly #topics: TopicCatalog;
  readonly #registry: SubscriptionRegistry;
  readonly #sessions = new Map<string, SubscriptionRunner>();
  /** Subscriptions whose dead letters would come back to their own topic. Only an old store can contain them. */
  readonly #inDeadLetterCycles = new Set<SubscriptionRunner>();

  constructor(services: SubscriptionCatalogServices) {
    this.#services = { ...services, sessions: this.#sessions };
    this.#topics = services.topics;
    this.#registry = services.registry;
  }

  /** Fills the catalog from what the store recovered. Follows the recovery of the topics. */
  async recover(): Promise<void> {
    const { storage } = this.#services;
    const { subscriptions } = storage.recovered;
    const inCycles = routesInCycles(subscriptions.map(({ config }) => config));
    for (let start = 0; start < subscriptions.length; start += limits.cursorReadsAtOnce) {
      const some = subscriptions.slice(start, start + limits.cursorReadsAtOnce);
      const cursors = await Promise.all(
        some.map(({ subscriptionId, topicId }) => {
          const partitionCount = this.#topics.byId(topicId)?.config.partitionCount ?? 0;
          return storage.readCursors(subscriptionId, partitionCount);
        }),
      );
      for (const [i, { subscriptionId, topicId, config }] of some.entries()) {
        const topic = this.#topics.byId(topicId);
        if (topic === undefined) continue;
        const runner = this.#add(topic, subscriptionId, config, cursors[i]!, inCycles.has(config));
        if (inCycles.has(config)) this.#inDeadLetterCycles.add(runner);
      }
    }
    for (const { config } of this.#inDeadLetterCycles) this.#warnOfCycle(config);
  }

  /** Follows the recovery of everything else: from here on, subscriptions change the store. */
  resume(): void {
    for (const runner of this.#registry.all.values()) runner.resume();
  }

  /** In the order of topic and name. */
  get all(): PagedMap<SubscriptionRunner> {
    return this.#registry.all;
  }

  /** The subscriptions of a topic, by name. */
  of(topic: Topic): PagedMap<SubscriptionRunner> {
    return this.#registry.of(topic);
  }

  /** Undefined if the topic has no such subscription. */
  find(topic: Topic, name: string): SubscriptionRunner | undefined {
    return this.#registry.get(topic, name);
  }

  /** Throws TOPIC_NOT_FOUND or SUBSCRIPTION_NOT_FOUND. */
  get(topicName: string, name: string): SubscriptionRunner {
    const runner = this.#registry.get(this.#topics.get(topicName), name);
    if (runner !== undefined) return runner;
    throw subscriptionNotFound(topicName, name);
  }

  /** By session id. */
  get sessions(): ReadonlyMap<string, SubscriptionRunner> {
    return this.#sessions;
  }

  /** The subscription of an open session. Throws SESSION_NOT_FOUND. */
  bySession(sessionId: string): SubscriptionRunner {
    const runner = this.#sessions.get(sessionId);
    if (runner === undefined) throw sessionNotFound(sessionId);
    return runner;
  }

  /** The topic for a new subscription. Creates no topic if the subscription would be refused. */
  topicFor(input: Omit<SubscriptionConfig, 'createTimeMs'>, start: StartPosition): Topic {
    checkDeliverySettings(input);
    checkPosition(start);
    const topic = this.#topics.find(input.topic);
    const exists = topic !== undefined && this.#registry.get(topic, input.name) !== undefined;
    if (!exists) this.#checkNew(input);
    return this.#topics.forUse(input.topic, () => checkEmptyStart(input.topic, start));
  }

  /**
   * Creates a subscription that does not exist yet, with these cursors. A partition without a cursor starts at its
   * first offset.
   */
  insert(
    topic: Topic,
    input: Omit<SubscriptionConfig, 'createTimeMs'>,
    cursors: ReadonlyMap<number, CursorState>,
  ): { runner: SubscriptionRunner; durable: Promise<void> } {
    const { storage, clock } = this.#services;
    this.#checkNew(input);
    const config = { ...input, createTimeMs: clock.wallMs() };
    const subscriptionId = storage.nextSubscriptionId();
    const runner = this.#add(topic, subscriptionId, config, cursors, false);
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

  update(
    topicName: string,
    name: string,
    change: SubscriptionChange,
  ): { runner: SubscriptionRunner; durable: Promise<void> } {
    const runner = this.get(topicName, name);
    const config = { ...runner.config, ...change };
    checkDeliverySettings(config);
    if (change.deadLetter !== undefined) this.#checkDeadLetters(config);
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

  delete(topicName: string, name: string): Promise<void> {
    const runner = this.get(topicName, name);
    const durable = commit(this.#services.storage, {
      durability: 'synced',
      changes: [deletionOf(runner.subscriptionId)],
    });
    this.#registry.remove(runner);
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

  /** Deletes a topic with its subscriptions. */
  deleteTopic(name: string): Promise<void> {
    const topic = this.#topics.get(name);
    for (const runner of this.#registry.of(topic).values()) this.#inDeadLetterCycles.delete(runner);
    this.#registry.removeTopic(topic);
    const durable = this.#topics.delete(topic);
    this.#leaveBrokenCycles();
    return durable;
  }

  /** Ends every session with this error. */
  endSessions(error: SluiceError): void {
    for (const runner of this.#registry.all.values()) runner.endSessions(error);
  }

  #warnOfCycle(config: SubscriptionConfig): void {
    const cycle = deadLetterCycle(config, this.#registry) ?? [];
    this.#services.logger.warn(
      { topic: config.topic, subscription: config.name },
      `dead letters of this subscription would come back to its topic (${formatCycle(cycle)}): ` +
        'it delivers failed messages again without end until it has another dead-letter topic',
    );
  }

  /** A change may have broken a cycle. It can't have made one. */
  #leaveBrokenCycles(): void {
    for (const runner of this.#inDeadLetterCycles) {
      if (deadLetterCycle(runner.config, this.#registry) !== undefined) continue;
      this.#inDeadLetterCycles.delete(runner);
      runner.leaveDeadLetterCycle();
    }
  }

  /** Throws INVALID_NAME, or what `checkNoDeadLetterCycle` throws. */
  #checkNew(input: DeadLetterRoute): void {
    expectName(input.name, 'subscription');
    this.#checkDeadLetters(input);
  }

  #checkDeadLetters(route: DeadLetterRoute): void {
    const { topic } = route.deadLetter;
    // Empty: the default, which is made of two valid names and may be longer than a name.
    if (topic !== '') expectName(topic, 'dead-letter topic');
    checkNoDeadLetterCycle(route, this.#registry);
  }

  #add(
    topic: Topic,
    subscriptionId: number,
    config: SubscriptionConfig,
    cursors: ReadonlyMap<number, CursorState>,
    isInDeadLetterCycle: boolean,
  ): SubscriptionRunner {
    const runner = new SubscriptionRunner(
      this.#services,
      topic,
      subscriptionId,
      config,
      cursors,
      isInDeadLetterCycle,
    );
    this.#registry.add(runner);
    return runner;
  }
}

function deletionOf(subscriptionId: number): Change {
  return { kind: 'delete-subscription', subscriptionId };
}

function firstCursor(subscriptionId: number, partition: number, state: CursorState): Change {
  return { kind: 'cursor', subscriptionId, partition, state: () => state };
}
