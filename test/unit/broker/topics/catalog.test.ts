import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { secondMs } from '../../../../src/base/units.js';
import { storeOptions } from '../../../simulation/held-storage.js';
import { PromptBroker, subscriptionOf, topicOf } from '../prompt-broker.js';

const earliest = { kind: 'earliest' } as const;
const { maxPartitionCount } = storeOptions;

describe('the catalog', () => {
  let prompt: PromptBroker;

  beforeEach(async () => {
    prompt = await PromptBroker.start();
  });
  afterEach(() => prompt.stop());

  const names = () => prompt.broker.listTopics(100, '').items.map(({ config }) => config.name);

  it('creates topics with one to the largest number of partitions', async () => {
    const { broker } = prompt;
    for (const count of [1, maxPartitionCount]) {
      const { partitions } = await broker.createTopic(topicOf(`with-${count}`, count));
      assert.deepEqual(
        partitions,
        Array.from({ length: count }, (_, partition) => ({
          partition,
          firstOffset: 0,
          nextOffset: 0,
          bytes: 0,
        })),
      );
    }
    for (const count of [0, -1, 1.5, maxPartitionCount + 1]) {
      await assert.rejects(broker.createTopic(topicOf('other', count)), {
        reason: 'INVALID_FIELD',
        message: `a topic of this broker has from 1 to ${maxPartitionCount} partitions, not ${count}`,
        details: { subject: 'partitionCount', metadata: { maxPartitionCount: String(maxPartitionCount) } },
      });
    }
    assert.deepEqual(names(), ['with-1', `with-${maxPartitionCount}`]);
  });

  it('creates a topic once, and refuses other settings for its name', async () => {
    const { broker, host } = prompt;
    const { config } = await broker.createTopic(topicOf('orders', 2));
    host.clock.advance(1_000);
    assert.deepEqual((await broker.createTopic(topicOf('orders', 2))).config, config, 'with its first time');
    await assert.rejects(broker.createTopic(topicOf('orders', 1)), {
      reason: 'TOPIC_EXISTS',
      message: /topic "orders" exists with other settings/,
      details: { metadata: { topic: 'orders' } },
    });
    assert.deepEqual(names(), ['orders']);
  });

  it('never takes partitions from a topic, and adds them to its subscriptions', async () => {
    const { broker } = prompt;
    await broker.createTopic(topicOf('orders', 1));
    await broker.createSubscription(subscriptionOf('orders', 's'), earliest);
    await broker.updateTopic('orders', { partitionCount: 3 });
    await assert.rejects(broker.updateTopic('orders', { partitionCount: 2 }), {
      reason: 'INVALID_FIELD',
      message: /never loses partitions: "orders" has 3/,
      details: { subject: 'partitionCount' },
    });
    await assert.rejects(broker.updateTopic('orders', { partitionCount: maxPartitionCount + 1 }), {
      reason: 'INVALID_FIELD',
    });
    assert.equal(broker.getTopic('orders').config.partitionCount, 3);
    const { partitions } = broker.getSubscription('orders', 's');
    assert.deepEqual(
      partitions.map(({ partition }) => partition),
      [0, 1, 2],
    );
    const consumer = await prompt.consume('orders', 's');
    for (const partition of [0, 1, 2]) await prompt.publish('orders', [{}], { partition });
    assert.equal(consumer.offsets.length, 3);
  });

  it('updates only the fields that are given', async () => {
    const { broker } = prompt;
    const before = await broker.createTopic(topicOf('orders'));
    const backlogLimit = { maxBytes: 0, maxMessages: 9, whenFull: 'reject' as const };
    const { config } = await broker.updateTopic('orders', { backlogLimit });
    assert.deepEqual(config, { ...before.config, backlogLimit });
    const subscription = await broker.createSubscription(subscriptionOf('orders', 's'), earliest);
    const changed = await broker.updateSubscription('orders', 's', { maxBackoffMs: 900 });
    assert.deepEqual(changed.config, { ...subscription.config, maxBackoffMs: 900 });
  });

  it('names what does not exist', async () => {
    const { broker } = prompt;
    await broker.createTopic(topicOf('orders'));
    const noTopic = { reason: 'TOPIC_NOT_FOUND', details: { metadata: { topic: 'other' } } };
    assert.throws(() => broker.getTopic('other'), noTopic);
    await assert.rejects(broker.updateTopic('other', {}), noTopic);
    await assert.rejects(broker.deleteTopic('other'), noTopic);
    assert.throws(() => broker.listSubscriptions('other', 0, ''), noTopic);
    const noSubscription = {
      reason: 'SUBSCRIPTION_NOT_FOUND',
      message: 'topic "orders" has no subscription "s"',
      details: { metadata: { topic: 'orders', subscription: 's' } },
    };
    assert.throws(() => broker.getSubscription('orders', 's'), noSubscription);
    await assert.rejects(broker.updateSubscription('orders', 's', {}), noSubscription);
    await assert.rejects(broker.deleteSubscription('orders', 's'), noSubscription);
    await assert.rejects(broker.seekSubscription('orders', 's', 0, earliest), noSubscription);
    await assert.rejects(broker.getMessage('orders', 1, 0), { reason: 'UNKNOWN_PARTITION' });
  });

  it('deletes a topic with its subscriptions and sessions', async () => {
    const { broker } = prompt;
    await broker.createTopic(topicOf('orders'));
    const consumer = await prompt.consume('orders', 's');
    await broker.deleteTopic('orders');
    assert.deepEqual(consumer.ends, ['TOPIC_DELETED']);
    assert.deepEqual(names(), []);
    assert.deepEqual(broker.listSubscriptions('', 0, '').items, []);
    await broker.createTopic(topicOf('orders'));
    assert.deepEqual(broker.listSubscriptions('orders', 0, '').items, []);
  });

  it('deletes a subscription with its sessions, and no other', async () => {
    const { broker } = prompt;
    await broker.createTopic(topicOf('orders'));
    const consumers = [await prompt.consume('orders', 'a'), await prompt.consume('orders', 'b')];
    await broker.deleteSubscription('orders', 'a');
    assert.deepEqual(
      consumers.map(({ ends }) => ends),
      [['SUBSCRIPTION_DELETED'], []],
    );
    assert.deepEqual(
      broker.listSubscriptions('orders', 0, '').items.map(({ config }) => config.name),
      ['b'],
    );
  });

  it('lets a deleted subscription hold no producer of its topic', async () => {
    const { broker } = prompt;
    const backlogLimit = { maxBytes: 0, maxMessages: 1, whenFull: 'reject' as const };
    await broker.createTopic(topicOf('orders', 1, { backlogLimit }));
    await broker.createSubscription(subscriptionOf('orders', 's'), earliest);
    await prompt.publish('orders', [{}, {}]);
    prompt.host.clock.advance(secondMs);
    await prompt.host.storage.quiesce();
    await assert.rejects(prompt.publish('orders', [{}]), { reason: 'BACKLOG_FULL' });
    await broker.deleteSubscription('orders', 's');
    prompt.host.clock.advance(secondMs);
    await prompt.host.storage.quiesce();
    assert.equal((await prompt.publish('orders', [{}])).messageCount, 1);
  });

  it('creates a topic with defaults for a producer or consumer that names it', async () => {
    await prompt.publish('by-producer', [{}]);
    await prompt.consume('by-consumer', 's');
    const topics = prompt.broker
      .listTopics(0, '')
      .items.map(({ config: { createTimeMs, ...config } }) => config);
    assert.deepEqual(topics, [topicOf('by-consumer'), topicOf('by-producer')]);
  });

  it('refuses names that are too long or have other characters, with the reason', async () => {
    const longest = 'x'.repeat(limits.maxNameLength);
    await prompt.broker.createTopic(topicOf(longest));
    const faults = [
      { name: '', text: /the name of the topic is missing; letters/ },
      { name: `${longest}x`, text: /is longer than 200 characters; / },
      { name: 'a/b', text: /has characters that a name may not have: "a\/b"; / },
    ];
    for (const { name, text } of faults) {
      await assert.rejects(prompt.broker.createTopic(topicOf(name)), {
        reason: 'INVALID_NAME',
        message: text,
      });
    }
    const subscription = subscriptionOf('fresh', 'a b');
    await assert.rejects(
      prompt.broker.createSubscription(subscription, earliest),
      /name of the subscription has/,
    );
    assert.deepEqual(names(), [longest], 'and creates no topic for them');
  });

  it('refuses subscriptions whose dead letters would come back, and creates no topic for them', async () => {
    const { broker } = prompt;
    const deadLetter = { maxAttempts: 2, topic: 'orders', isDisabled: false };
    const route = subscriptionOf('orders', 's', { deadLetter });
    await assert.rejects(broker.createSubscription(route, earliest), { reason: 'INVALID_FIELD' });
    assert.deepEqual(names(), []);
    await broker.createSubscription(subscriptionOf('orders', 's'), earliest);
    await assert.rejects(broker.updateSubscription('orders', 's', { deadLetter }), {
      reason: 'INVALID_FIELD',
    });
    assert.equal(broker.getSubscription('orders', 's').config.deadLetter.topic, '');
  });

  it('creates a subscription once, and starts it where it is told', async () => {
    const { broker } = prompt;
    await broker.createTopic(topicOf('orders', 1));
    await prompt.publish('orders', [{}, {}, {}]);
    const starts = [
      { start: earliest, offsets: [0, 1, 2, 3] },
      { start: { kind: 'latest' } as const, offsets: [3] },
      { start: { kind: 'offset', offset: 2 } as const, offsets: [2, 3] },
      { start: { kind: 'offset', offset: 3 } as const, offsets: [3] },
      { start: { kind: 'time', timeMs: 0 } as const, offsets: [0, 1, 2, 3] },
    ];
    const consumers = [];
    for (const [i, { start }] of starts.entries())
      consumers.push(await prompt.consume('orders', `s${i}`, { start }));
    await prompt.publish('orders', [{}]);
    await prompt.host.storage.quiesce();
    assert.deepEqual(
      consumers.map(({ offsets }) => offsets),
      starts.map(({ offsets }) => offsets),
    );
    await assert.rejects(
      broker.createSubscription(subscriptionOf('orders', 'x'), { kind: 'offset', offset: 5 }),
      {
        reason: 'OFFSET_OUT_OF_RANGE',
        message: /partition 0 of topic "orders" can be read from 0 to 4, not from 5/,
        details: { metadata: { firstOffset: '0', endOffset: '4' } },
      },
    );
    const input = subscriptionOf('orders', 'y');
    const created = await broker.createSubscription(input, earliest);
    assert.deepEqual(await broker.createSubscription(input, { kind: 'latest' }), created);
    await assert.rejects(broker.createSubscription({ ...input, ordering: 'none' }, earliest), {
      reason: 'SUBSCRIPTION_EXISTS',
      message: /subscription "y" of topic "orders" exists with other settings/,
      details: { metadata: { topic: 'orders', subscription: 'y' } },
    });
  });

  it('is the same after a restart', async () => {
    const { broker, host } = prompt;
    await broker.createTopic(topicOf('orders', 2));
    await broker.createTopic(topicOf('gone'));
    await broker.createSubscription(subscriptionOf('orders', 's'), earliest);
    await broker.deleteTopic('gone');
    const listed = [broker.listTopics(0, ''), broker.listSubscriptions('', 0, '')];
    host.crash();
    await host.start();
    host.storage.isPrompt = true;
    assert.deepEqual([prompt.broker.listTopics(0, ''), prompt.broker.listSubscriptions('', 0, '')], listed);
  });
});
