import type { SubscriptionConfig } from '../../base/model.js';
import type { DeadLetterRoutes } from '../dead-letters/dead-letter-cycles.js';
import type { DeadLetterRoute } from '../dead-letters/dead-letter-topic.js';
import { PagedMap } from '../topics/paging.js';
import type { Topic } from '../topics/topic.js';
import type { SubscriptionRunner } from './subscription-runner.js';

const noRunners = new PagedMap<SubscriptionRunner>();

/** The runners of all subscriptions. A topic knows its subscriptions only as `TopicSubscription`. */
export class SubscriptionRegistry implements DeadLetterRoutes {
  readonly #topics: { find(name: string): Topic | undefined };
  /** In the order of topic and name. */
  readonly all = new PagedMap<SubscriptionRunner>();
  readonly #byTopicId = new Map<number, PagedMap<SubscriptionRunner>>();

  constructor(topics: { find(name: string): Topic | undefined }) {
    this.#topics = topics;
  }

  *routesOf(topicName: string): Iterable<DeadLetterRoute> {
    const topic = this.#topics.find(topicName);
    if (topic === undefined) return;
    for (const { config } of this.of(topic).values()) yield config;
  }

  /** The subscriptions of a topic, by name. */
  of(topic: Topic): PagedMap<SubscriptionRunner> {
    return this.#byTopicId.get(topic.topicId) ?? noRunners;
  }

  get(topic: Topic, name: string): SubscriptionRunner | undefined {
    return this.#byTopicId.get(topic.topicId)?.get(name);
  }

  /** Adds the subscription here and to its topic. */
  add(runner: SubscriptionRunner): void {
    const { topic, config } = runner;
    let ofTopic = this.#byTopicId.get(topic.topicId);
    if (ofTopic === undefined) {
      ofTopic = new PagedMap();
      this.#byTopicId.set(topic.topicId, ofTopic);
    }
    ofTopic.set(config.name, runner);
    this.all.set(keyOf(config), runner);
    topic.addSubscription(runner);
  }

  /** Removes the subscription here and from its topic. */
  remove(runner: SubscriptionRunner): void {
    const { topic, config } = runner;
    this.#byTopicId.get(topic.topicId)?.delete(config.name);
    this.all.delete(keyOf(config));
    topic.removeSubscription(runner);
  }

  /** Removes the subscriptions of a deleted topic. The topic keeps them, and ends them. */
  removeTopic(topic: Topic): void {
    for (const { config } of this.of(topic).values()) this.all.delete(keyOf(config));
    this.#byTopicId.delete(topic.topicId);
  }
}

/** Names contain no `/`: the key separates topic and subscription, and sorts by topic first. */
function keyOf(config: Pick<SubscriptionConfig, 'topic' | 'name'>): string {
  return `${config.topic}/${config.name}`;
}
