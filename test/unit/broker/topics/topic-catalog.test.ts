import assert from 'node:assert/strict';
import { silentLogger } from '../../../../src/base/logger.js';
import { Alarm } from '../../../../src/broker/alarm.js';
import type { Topic, TopicSubscription } from '../../../../src/broker/topics/topic.js';
import { TopicCatalog } from '../../../../src/broker/topics/topic-catalog.js';
import type { Change, Storage, Transaction } from '../../../../src/storage/types.js';
import { VirtualClock } from '../../../support/virtual-clock.js';
import { topicOf } from '../prompt-broker.js';

describe('TopicCatalog', () => {
  let changes: (readonly Change[])[];
  let catalog: TopicCatalog;

  beforeEach(() => {
    catalog = opened(true);
  });

  function opened(canAutoCreateTopics: boolean): TopicCatalog {
    changes = [];
    const clock = new VirtualClock();
    let topicId = 0;
    const storage: Partial<Storage> = {
      recovered: { topics: [], subscriptions: [] },
      nextTopicId: () => ++topicId,
      submit: (transaction: Transaction) => {
        changes.push(transaction.changes ?? []);
        return [];
      },
    };
    return new TopicCatalog({
      storage: storage as Storage,
      settings: { maxPartitionCount: 16, defaultDurability: 'synced', canAutoCreateTopics } as never,
      clock,
      logger: silentLogger,
      alarm: new Alarm(clock),
    });
  }

  function subscribe(topic: Topic, subscriptionId: number, events: string[]): TopicSubscription {
    const subscription: TopicSubscription = {
      subscriptionId,
      addPartition: (partition) => void events.push(`${subscriptionId}+${partition}`),
      grown: () => {},
      removedBelow: () => {},
      end: (error) => void events.push(`${subscriptionId}: ${error.reason}`),
      acknowledgedOffset: () => 0,
      partitionStatus: () => ({ backlogMessageCount: 0 }),
    };
    topic.addSubscription(subscription);
    return subscription;
  }

  it('creates no topic for a use of it where that is not allowed, except for dead letters', () => {
    const strict = opened(false);
    assert.throws(() => strict.forUse('a', () => {}), {
      reason: 'AUTO_CREATE_DISABLED',
      message: 'there is no topic "a": create it first',
      details: { metadata: { topic: 'a' } },
    });
    assert.equal(strict.find('a'), undefined);
    const topic = strict.getOrCreate('a');
    assert.equal(strict.forUse('a', assert.fail), topic);
  });

  it('knows the largest partition count, of topics that grew too, and after a deletion', () => {
    assert.equal(catalog.mostPartitions, 0);
    const { topic } = catalog.create(topicOf('a', 2));
    catalog.create(topicOf('b', 1));
    assert.equal(catalog.mostPartitions, 2);
    catalog.update('a', { partitionCount: 5 });
    assert.equal(catalog.mostPartitions, 5);
    void catalog.delete(topic);
    assert.equal(catalog.mostPartitions, 5);
  });

  it('tells the subscriptions of a topic of each new partition', () => {
    const { topic } = catalog.create(topicOf('a', 2));
    const events: string[] = [];
    subscribe(topic, 7, events);
    topic.removeSubscription(subscribe(topic, 8, events));
    catalog.update('a', { partitionCount: 4 });
    assert.deepEqual(events, ['7+2', '7+3']);
  });

  it('deletes a topic and its subscriptions in one commit, and ends what uses them', () => {
    const { topic } = catalog.create(topicOf('a', 1));
    const events: string[] = [];
    subscribe(topic, 7, events);
    subscribe(topic, 8, events);
    topic.addFollower({
      grown: () => {},
      topicEnded: ({ reason }) => void events.push(`follower: ${reason}`),
    });
    changes.length = 0;
    void catalog.delete(topic);
    assert.deepEqual(changes, [
      [
        { kind: 'delete-topic', topicId: topic.topicId },
        { kind: 'delete-subscription', subscriptionId: 7 },
        { kind: 'delete-subscription', subscriptionId: 8 },
      ],
    ]);
    assert.deepEqual(events, ['7: TOPIC_DELETED', '8: TOPIC_DELETED', 'follower: TOPIC_DELETED']);
    assert.equal(catalog.find('a'), undefined);
    assert.equal(catalog.byId(topic.topicId), undefined);
  });
});
