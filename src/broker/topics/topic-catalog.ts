import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../base/clock.js';
import { SluiceError } from '../../base/errors.js';
import { endOnDefect } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import type { TopicConfig } from '../../base/model.js';
import { Spreader } from '../../core/routing.js';
import type { CatalogTopic, Storage } from '../../storage/types.js';
import type { Alarm } from '../alarm.js';
import { commit } from '../committer.js';
import type { BrokerSettings } from '../settings.js';
import type { Page, TopicChange } from '../types.js';
import { expectName } from './names.js';
import { PagedMap } from './paging.js';
import { Topic, topicNotFound } from './topic.js';
import { checkTopic } from './topic-checks.js';

export interface TopicCatalogServices {
  readonly storage: Storage;
  readonly settings: BrokerSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly alarm: Alarm;
}

/**
 * The topics. A change takes effect at once, so that later calls can rely on it. The promise of the change resolves
 * with its commit.
 */
export class TopicCatalog {
  readonly #services: TopicCatalogServices;
  readonly #topics = new PagedMap<Topic>();
  readonly #topicsById = new Map<number, Topic>();
  #mostPartitions = 0;

  constructor(services: TopicCatalogServices) {
    this.#services = services;
  }

  /** Fills the catalog from what the store recovered. */
  recover(): void {
    for (const { topicId, config } of this.#services.storage.recovered.topics) this.#add(topicId, config);
  }

  /** The largest partition count of any topic since the broker started. */
  get mostPartitions(): number {
    return this.#mostPartitions;
  }

  values(): Iterable<Topic> {
    return this.#topics.values();
  }

  page(pageSize: number, pageToken: string): Page<Topic> {
    return this.#topics.page(pageSize, pageToken);
  }

  byId(topicId: number): Topic | undefined {
    return this.#topicsById.get(topicId);
  }

  /** Undefined if there is no such topic. */
  find(name: string): Topic | undefined {
    return this.#topics.get(name);
  }

  /** Throws TOPIC_NOT_FOUND. */
  get(name: string): Topic {
    const topic = this.#topics.get(name);
    if (topic === undefined) throw topicNotFound(name);
    return topic;
  }

  /**
   * The topic that a producer or consumer names. Creates it with defaults if the settings allow that, and if `checkUse`
   * does not throw: what the new topic would refuse creates no topic.
   */
  forUse(name: string, checkUse: () => void): Topic {
    const topic = this.#topics.get(name);
    if (topic !== undefined) return topic;
    if (!this.#services.settings.canAutoCreateTopics) {
      throw new SluiceError('AUTO_CREATE_DISABLED', `there is no topic "${name}": create it first`, {
        metadata: { topic: name },
      });
    }
    expectName(name, 'topic');
    checkUse();
    return this.getOrCreate(name);
  }

  /** The topic of this name. Creates it with defaults if it does not exist, whatever the settings allow. */
  getOrCreate(name: string): Topic {
    // Commits are in order: every later use of the new topic waits for a commit behind this one.
    return this.#topics.get(name) ?? this.#insert(defaultTopic(name)).topic;
  }

  create(input: Omit<TopicConfig, 'createTimeMs'>): { topic: Topic; durable: Promise<void> } {
    expectName(input.name, 'topic');
    this.#check(input);
    const existing = this.#topics.get(input.name);
    if (existing === undefined) return this.#insert(input);
    if (!isDeepStrictEqual({ ...existing.config, createTimeMs: 0 }, { ...input, createTimeMs: 0 })) {
      throw new SluiceError('TOPIC_EXISTS', `topic "${input.name}" exists with other settings: update it`, {
        metadata: { topic: input.name },
      });
    }
    return { topic: existing, durable: commit(this.#services.storage, { durability: 'synced' }) };
  }

  update(name: string, change: TopicChange): { topic: Topic; durable: Promise<void> } {
    const topic = this.get(name);
    const config = { ...topic.config, ...change };
    if (config.partitionCount < topic.config.partitionCount) {
      throw new SluiceError(
        'INVALID_FIELD',
        `a topic never loses partitions: "${name}" has ${topic.config.partitionCount}`,
        { subject: 'partitionCount' },
      );
    }
    this.#check(config);
    const durable = this.#put(topic.topicId, config);
    topic.changeConfig(config);
    this.#mostPartitions = Math.max(this.#mostPartitions, config.partitionCount);
    return { topic, durable };
  }

  /** Deletes the topic and its subscriptions in one commit, and ends everything that uses them. */
  delete(topic: Topic): Promise<void> {
    const durable = commit(this.#services.storage, {
      durability: 'synced',
      changes: [
        { kind: 'delete-topic', topicId: topic.topicId },
        ...Array.from(topic.subscriptions, ({ subscriptionId }) => {
          return { kind: 'delete-subscription', subscriptionId } as const;
        }),
      ],
    });
    this.#topics.delete(topic.name);
    this.#topicsById.delete(topic.topicId);
    topic.delete();
    return durable;
  }

  #check(config: Omit<TopicConfig, 'createTimeMs'>): void {
    checkTopic(config, this.#services.settings.maxPartitionCount);
  }

  #insert(input: Omit<TopicConfig, 'createTimeMs'>): { topic: Topic; durable: Promise<void> } {
    if (this.#topics.size >= limits.maxTopics) {
      throw new SluiceError('TOO_MANY_TOPICS', `there are ${limits.maxTopics} topics already: delete some`);
    }
    const config = { ...input, createTimeMs: this.#services.clock.wallMs() };
    const topicId = this.#services.storage.nextTopicId();
    const durable = this.#put(topicId, config);
    const topic = this.#add(topicId, config);
    if (!topic.isLimited) {
      this.#services.logger.info(
        { topic: config.name },
        'topic created without a retention limit: its messages fill the disk until producers are held',
      );
    }
    return { topic, durable };
  }

  #put(topicId: number, config: TopicConfig): Promise<void> {
    const record: CatalogTopic = { topicId, config };
    const durable = commit(this.#services.storage, {
      durability: 'synced',
      changes: [{ kind: 'topic', ...record }],
    });
    // The commit fails only if the store fails, and `Storage.failed` reports that. A caller that waits for the commit
    // gets the error from the promise.
    durable.catch(endOnDefect);
    return durable;
  }

  #add(topicId: number, config: TopicConfig): Topic {
    const { storage, logger, alarm, clock, settings } = this.#services;
    const { defaultDurability } = settings;
    const services = { storage, logger, alarm, clock, spreader: new Spreader(), defaultDurability };
    const topic = new Topic(topicId, config, services);
    this.#topics.set(config.name, topic);
    this.#mostPartitions = Math.max(this.#mostPartitions, config.partitionCount);
    this.#topicsById.set(topicId, topic);
    return topic;
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
