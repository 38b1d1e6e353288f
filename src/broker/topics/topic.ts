import { SluiceError } from '../../base/errors.js';
import type { Durability, TopicConfig } from '../../base/model.js';
import type { Spreader } from '../../core/routing.js';
import type { PartitionExtent, Storage } from '../../storage/types.js';
import { Backlog, type BackloggedSubscription, type BacklogServices } from '../admission/backlog.js';
import { TopicLine } from '../admission/topic-line.js';

/** What a topic tells a subscription, and asks it. */
export interface TopicSubscription extends BackloggedSubscription {
  readonly subscriptionId: number;
  /** The topic has a new partition, which is read from its beginning. */
  addPartition(partition: number): void;
  /** The partition has grown. */
  grown(partition: number, endOffset: number): void;
  /** Retention is about to remove everything below `firstOffset`: it counts as settled. */
  removedBelow(partition: number, firstOffset: number): void;
  /** The topic was deleted. */
  end(error: SluiceError): void;
}

/** Something that ends with its topic, such as a stream that reads the topic. */
export interface TopicFollower {
  /** The partition has grown. */
  grown(partition: number, endOffset: number): void;
  /** The topic was deleted, or the broker drains. */
  topicEnded(error: SluiceError): void;
}

export interface TopicServices extends BacklogServices {
  readonly spreader: Spreader;
  readonly defaultDurability: Durability;
}

/** A topic that exists, with its subscriptions, followers, backlog and line. */
export class Topic {
  readonly topicId: number;
  readonly spreader: Spreader;
  /** The streams of the topic at the publish gate. */
  readonly line = new TopicLine();
  readonly #defaultDurability: Durability;
  readonly #storage: Storage;
  /** By partition: the offset below which retention has begun to remove messages. */
  readonly #floors = new Map<number, number>();
  readonly #subscriptions = new Set<TopicSubscription>();
  readonly #followers = new Set<TopicFollower>();
  readonly backlog: Backlog;
  #config: TopicConfig;
  #isDeleted = false;

  constructor(topicId: number, config: TopicConfig, services: TopicServices) {
    this.topicId = topicId;
    this.#config = config;
    this.spreader = services.spreader;
    this.#storage = services.storage;
    this.#defaultDurability = services.defaultDurability;
    this.backlog = new Backlog(this, services);
  }

  get config(): TopicConfig {
    return this.#config;
  }

  get name(): string {
    return this.#config.name;
  }

  get subscriptions(): ReadonlySet<TopicSubscription> {
    return this.#subscriptions;
  }

  get isDeleted(): boolean {
    return this.#isDeleted;
  }

  get durability(): Durability {
    return this.#config.durability ?? this.#defaultDurability;
  }

  /** Whether retention ever removes messages of the topic. */
  get isLimited(): boolean {
    const { maxAgeMs, maxBytes, untilAcknowledged } = this.#config.retention;
    return maxAgeMs > 0 || maxBytes > 0 || untilAcknowledged;
  }

  /** What readers see of a partition. Throws TOPIC_NOT_FOUND if the topic was deleted. */
  extent(partition: number): PartitionExtent {
    if (this.#isDeleted) throw topicNotFound(this.name);
    return this.#storage.extent(this.topicId, partition);
  }

  /**
   * The first offset of a partition at which a read may begin. It runs ahead of the store, which still has
   * messages below it while retention removes them.
   */
  firstOffset(partition: number): number {
    const { firstOffset } = this.extent(partition);
    return Math.max(firstOffset, this.#floors.get(partition) ?? 0);
  }

  /** One past the last committed message of a partition. */
  endOffset(partition: number): number {
    return this.extent(partition).endOffset;
  }

  /** Takes effect at once: subscriptions read new partitions from their beginning. */
  changeConfig(config: TopicConfig): void {
    const { partitionCount } = this.#config;
    this.#config = config;
    this.backlog.limitChanged();
    for (let partition = partitionCount; partition < config.partitionCount; partition++) {
      for (const subscription of this.#subscriptions) subscription.addPartition(partition);
    }
  }

  addSubscription(subscription: TopicSubscription): void {
    this.#subscriptions.add(subscription);
    this.backlog.limitChanged();
  }

  removeSubscription(subscription: TopicSubscription): void {
    this.#subscriptions.delete(subscription);
    this.backlog.settled();
  }

  addFollower(follower: TopicFollower): void {
    this.#followers.add(follower);
  }

  removeFollower(follower: TopicFollower): void {
    this.#followers.delete(follower);
  }

  /** Ends everything that follows the topic. */
  endFollowers(error: SluiceError): void {
    // A follower that ends removes itself.
    for (const follower of [...this.#followers]) follower.topicEnded(error);
  }

  /** Everything below `offset` is about to be removed: no subscription starts or seeks there from now on. */
  raiseFloor(partition: number, offset: number): void {
    this.#floors.set(partition, offset);
    for (const subscription of this.#subscriptions) subscription.removedBelow(partition, offset);
  }

  grown(partition: number, endOffset: number): void {
    for (const subscription of this.#subscriptions) subscription.grown(partition, endOffset);
    for (const follower of this.#followers) follower.grown(partition, endOffset);
  }

  /** The topic was deleted: ends everything that used it. */
  delete(): void {
    this.#isDeleted = true;
    const error = topicDeleted(this.name);
    this.backlog.release();
    for (const subscription of this.#subscriptions) subscription.end(error);
    this.endFollowers(error);
  }
}

export function topicDeleted(name: string): SluiceError {
  return new SluiceError('TOPIC_DELETED', `topic "${name}" was deleted while this stream was open`);
}

export function topicNotFound(name: string): SluiceError {
  return new SluiceError('TOPIC_NOT_FOUND', `there is no topic "${name}"`, { metadata: { topic: name } });
}

/** Throws UNKNOWN_PARTITION unless the topic has the partition. */
export function checkPartition(topic: Pick<TopicConfig, 'name' | 'partitionCount'>, partition: number): void {
  const count = topic.partitionCount;
  if (Number.isInteger(partition) && partition >= 0 && partition < count) return;
  throw new SluiceError(
    'UNKNOWN_PARTITION',
    `topic "${topic.name}" has no partition ${partition}: it has ${count}, numbered from 0`,
    { subject: 'partition', metadata: { topic: topic.name, partitionCount: String(count) } },
  );
}
