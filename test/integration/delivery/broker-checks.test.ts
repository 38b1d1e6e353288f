import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { systemClock } from '../../../src/base/clock.js';
import type { ErrorSubject } from '../../../src/base/errors.js';
import { limits } from '../../../src/base/limits.js';
import { silentLogger } from '../../../src/base/logger.js';
import type { StartPosition, SubscriptionConfig, TopicConfig } from '../../../src/base/model.js';
import { createRandom } from '../../../src/base/random.js';
import { MiB, minuteMs } from '../../../src/base/units.js';
import { createBroker } from '../../../src/broker/broker.js';
import type {
  Broker,
  ConsumeOptions,
  ConsumerSink,
  ReadSink,
  Receipt,
  RedriveSink,
  SubscriptionChange,
} from '../../../src/broker/types.js';
import { openStorage } from '../../../src/storage/storage.js';
import { encodeBatch } from '../../simulation/messages.js';
import { contextOf } from '../../support/call-context.js';
import { defaultOptions, makeDirectory } from '../storage/harness.js';

/** Names that the API refuses, too. The broker does not rely on that. */
const badNames = [
  '',
  'a/b',
  '.a',
  'a b',
  'a\nb',
  'a\0',
  '\0',
  '\ud800',
  'a\udfff',
  'ä',
  'x'.repeat(201),
  'x'.repeat(300),
];

/** A sink that is not called: the stream is refused. */
const unused = new Proxy(
  {},
  {
    get: () => assert.fail('a refused stream has called its sink'),
  },
) as ConsumerSink & ReadSink & RedriveSink;

/** The broker called directly, without the API and its checks. */
describe('the broker refuses', () => {
  let directory: string;
  let broker: Broker;

  before(async () => {
    directory = await makeDirectory();
    const services = { clock: systemClock, logger: silentLogger };
    const storage = await openStorage({ ...defaultOptions, directory }, services);
    broker = await createBroker(
      {
        version: 'test',
        canAutoCreateTopics: true,
        defaultDurability: 'written',
        defaultAckDeadlineMs: minuteMs,
        maxPartitionCount: defaultOptions.maxPartitionCount,
        maxMessageBytes: MiB,
        maxRequestBytes: MiB,
        minFreeDiskBytes: 0,
        frameBytes: MiB,
      },
      {
        storage,
        freeDiskBytes: async () => MiB,
        clock: systemClock,
        random: createRandom(1),
        logger: silentLogger,
      },
    );
    await broker.createTopic(topic('orders'));
  });
  after(async () => {
    await broker.close();
    await rm(directory, { recursive: true });
  });

  function topic(name: string, partitionCount = 2): Omit<TopicConfig, 'createTimeMs'> {
    return {
      name,
      partitionCount,
      retention: { maxAgeMs: 0, maxBytes: 0, untilAcknowledged: false, dropUnacknowledged: false },
      backlogLimit: { maxBytes: 0, maxMessages: 0, whenFull: 'block' },
      durability: undefined,
    };
  }

  function subscription(name: string, deadLetterTopic = ''): Omit<SubscriptionConfig, 'createTimeMs'> {
    return {
      topic: 'orders',
      name,
      ordering: 'partition',
      ackDeadlineMs: 0,
      minBackoffMs: 0,
      maxBackoffMs: 0,
      deadLetter: { maxAttempts: 0, topic: deadLetterTopic, isDisabled: false },
    };
  }

  const sink: ConsumerSink = {
    deliver() {},
    assigned() {},
    revoked() {},
    heartbeat() {},
    ended() {},
  };

  function consumeOptions(topicName: string, start: StartPosition): ConsumeOptions {
    return {
      topic: topicName,
      subscription: 's',
      consumerId: '',
      context: contextOf('test'),
      credit: {},
      start,
    };
  }

  function publish(
    topicName: string,
    producerId?: string,
    partition?: number,
    numbers: { epoch?: number; firstSequence?: number } = {},
  ): Promise<Receipt | undefined> {
    const publisher = broker.openPublisher(contextOf('test'));
    const producer =
      producerId === undefined ? undefined : { producerId, epoch: 1, firstSequence: 1, ...numbers };
    const batch = encodeBatch([{ id: 'a', key: '', padding: 0 }]);
    return new Promise<Receipt | undefined>((resolve, reject) => {
      publisher.publish({ topic: topicName, partition, producer, ...batch }, (error, receipt) =>
        error === undefined ? resolve(receipt) : reject(error),
      );
    }).finally(() => publisher.close());
  }

  for (const name of badNames) {
    const shown = name.length > 20 ? `${name.length} characters` : JSON.stringify(name);
    it(`${shown} as the name of a topic, a subscription or a producer`, async () => {
      const refusal = { name: 'SluiceError', reason: 'INVALID_NAME' };
      const earliest = { kind: 'earliest' } as const;
      await assert.rejects(broker.createTopic(topic(name)), refusal);
      await assert.rejects(publish(name), refusal);
      await assert.rejects(broker.openProducer(name, 'p', { claimId: 0, currentEpoch: undefined }), refusal);
      await assert.rejects(broker.createSubscription(subscription(name), earliest), refusal);
      await assert.rejects(
        broker.openProducer('orders', name, { claimId: 0, currentEpoch: undefined }),
        refusal,
      );
      await assert.rejects(publish('orders', name), refusal);
      if (name === '') return;
      await assert.rejects(broker.createSubscription(subscription('s', name), earliest), refusal);
      assert.deepEqual(
        broker.listTopics(100, '').items.map(({ config }) => config.name),
        ['orders'],
      );
    });
  }

  it('what a new topic would refuse, before it creates the topic', async () => {
    const topicNames = () => broker.listTopics(100, '').items.map(({ config }) => config.name);
    const before = topicNames();
    const start = { kind: 'offset', offset: 1 } as const;
    const refused: [Promise<unknown>, string][] = [
      [publish('fresh', 'a/b'), 'INVALID_NAME'],
      [publish('fresh', undefined, 1), 'UNKNOWN_PARTITION'],
      [publish('fresh', 'p', 0, { firstSequence: 2 }), 'SEQUENCE_GAP'],
      [publish('fresh', 'p', 0, { epoch: -1 }), 'INVALID_FIELD'],
      [broker.openProducer('fresh', 'a/b', { claimId: 0, currentEpoch: undefined }), 'INVALID_NAME'],
      [broker.openProducer('fresh', 'p', { claimId: 0, currentEpoch: 1 }), 'PRODUCER_FENCED'],
      [broker.createSubscription({ ...subscription('s'), topic: 'fresh' }, start), 'OFFSET_OUT_OF_RANGE'],
      [broker.subscribe(consumeOptions('fresh', start), sink), 'OFFSET_OUT_OF_RANGE'],
    ];
    for (const [refusal, reason] of refused) {
      await assert.rejects(refusal, { name: 'SluiceError', reason });
      assert.deepEqual(topicNames(), before, reason);
    }
  });

  it('partitions that do not exist, and numbers that are none', async () => {
    for (const partition of [-1, 2, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      await assert.rejects(publish('orders', undefined, partition), { reason: 'UNKNOWN_PARTITION' });
    }
    for (const count of [0, -1, 1.5, Number.NaN, defaultOptions.maxPartitionCount + 1]) {
      await assert.rejects(broker.createTopic(topic('other', count)), { reason: 'INVALID_FIELD' });
    }
  });

  it('epochs and sequences that are none', async () => {
    for (const number of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      const epoch = publish('orders', 'p', 0, { epoch: number });
      await assert.rejects(epoch, { reason: 'INVALID_FIELD', details: { subject: 'epoch' } });
      const sequence = publish('orders', 'p', 0, { firstSequence: number });
      await assert.rejects(sequence, { reason: 'INVALID_FIELD', details: { subject: 'firstSequence' } });
    }
    const zero = publish('orders', 'p', 0, { firstSequence: 0 });
    await assert.rejects(zero, { reason: 'INVALID_FIELD', details: { subject: 'firstSequence' } });
  });

  it('limits of topics that are none', async () => {
    const { retention, backlogLimit } = topic('other');
    for (const number of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const faults = [
        ['retentionAge', { retention: { ...retention, maxAgeMs: number } }],
        ['retentionBytes', { retention: { ...retention, maxBytes: number } }],
        ['backlogBytes', { backlogLimit: { ...backlogLimit, maxBytes: number } }],
        ['backlogMessages', { backlogLimit: { ...backlogLimit, maxMessages: number } }],
      ] as const;
      for (const [subject, change] of faults) {
        const refusal = { reason: 'INVALID_FIELD', details: { subject } };
        await assert.rejects(broker.createTopic({ ...topic('other'), ...change }), refusal);
        await assert.rejects(broker.updateTopic('orders', change), refusal);
      }
    }
    assert.throws(() => broker.getTopic('other'), { reason: 'TOPIC_NOT_FOUND' });
    assert.deepEqual(broker.getTopic('orders').config.retention, retention);
  });

  it('delivery settings of subscriptions that are none', async () => {
    const earliest = { kind: 'earliest' } as const;
    const { deadLetter } = subscription('kept');
    await broker.createSubscription(subscription('kept'), earliest);
    const faults: [ErrorSubject, SubscriptionChange][] = [
      ['ackDeadline', { ackDeadlineMs: limits.minAckDeadlineMs - 1 }],
      ['ackDeadline', { ackDeadlineMs: limits.maxAckDeadlineMs + 1 }],
      ['ackDeadline', { ackDeadlineMs: Number.NaN }],
      ['minBackoff', { minBackoffMs: -1 }],
      ['maxBackoff', { maxBackoffMs: limits.maxBackoffMs + 1 }],
      ['backoff', { minBackoffMs: 100, maxBackoffMs: 50 }],
      ['backoff', { minBackoffMs: limits.defaultMaxBackoffMs + 1 }],
      ['maxAttempts', { deadLetter: { ...deadLetter, maxAttempts: limits.maxAttempts + 1 } }],
      ['maxAttempts', { deadLetter: { ...deadLetter, maxAttempts: 0.5 } }],
    ];
    for (const [subject, change] of faults) {
      const refusal = { reason: 'INVALID_FIELD', details: { subject } };
      await assert.rejects(broker.createSubscription({ ...subscription('s'), ...change }, earliest), refusal);
      await assert.rejects(
        broker.createSubscription({ ...subscription('kept'), ...change }, earliest),
        refusal,
      );
      await assert.rejects(broker.updateSubscription('orders', 'kept', change), refusal);
    }
    const { config } = broker.getSubscription('orders', 'kept');
    assert.deepEqual({ ...config, createTimeMs: 0 }, { ...subscription('kept'), createTimeMs: 0 });
    assert.equal(broker.listSubscriptions('orders', 0, '').items.length, 1);
    await broker.deleteSubscription('orders', 'kept');
  });

  it('positions, credits and limits of streams that are none', async () => {
    await broker.createSubscription(subscription('kept'), { kind: 'earliest' });
    const positions: StartPosition[] = [
      { kind: 'offset', offset: 0.5 },
      { kind: 'offset', offset: -1 },
      { kind: 'offset', offset: Number.NaN },
      { kind: 'time', timeMs: Number.NaN },
      { kind: 'time', timeMs: Number.POSITIVE_INFINITY },
    ];
    const refusal = (subject: ErrorSubject) => ({ reason: 'INVALID_FIELD', details: { subject } });
    const read = { topic: 'orders', partition: undefined, limit: 0, isFollowing: false } as const;
    for (const start of positions) {
      await assert.rejects(broker.seekSubscription('orders', 'kept', undefined, start), refusal('position'));
      await assert.rejects(broker.createSubscription(subscription('s'), start), refusal('position'));
      await assert.rejects(broker.read({ ...read, start }, unused), refusal('position'));
    }
    for (const number of [-1, 0.5, Number.NaN]) {
      const consumer = { topic: 'orders', subscription: 'kept', consumerId: '', context: contextOf('test') };
      const start = { kind: 'earliest' } as const;
      await assert.rejects(
        broker.subscribe({ ...consumer, start, credit: { messages: number } }, unused),
        refusal('creditMessages'),
      );
      await assert.rejects(
        broker.subscribe({ ...consumer, start, credit: { bytes: number } }, unused),
        refusal('creditBytes'),
      );
      assert.throws(() => broker.setCredit('none', { messages: number }), refusal('creditMessages'));
      await assert.rejects(broker.read({ ...read, start, limit: number }, unused), refusal('limit'));
      const redrive = { topic: 'orders', subscription: 'kept', isDryRun: false, limit: 0, ratePerSecond: 0 };
      assert.throws(() => broker.redrive({ ...redrive, limit: number }, unused), refusal('limit'));
    }
    for (const ratePerSecond of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const redrive = { topic: 'orders', subscription: 'kept', isDryRun: false, limit: 0, ratePerSecond };
      assert.throws(() => broker.redrive(redrive, unused), refusal('redriveRate'));
    }
    await broker.deleteSubscription('orders', 'kept');
  });

  it('nothing that is in order', async () => {
    const longest = 'x'.repeat(200);
    await broker.createTopic(topic(longest));
    assert.equal((await publish('orders', longest, 1))?.messageCount, 1);
  });
});
