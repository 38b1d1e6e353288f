import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/logger.js';
import type { StartPosition, SubscriptionConfig, TopicConfig } from '../../../src/base/model.js';
import { createRandom } from '../../../src/base/random.js';
import { MiB, minuteMs } from '../../../src/base/units.js';
import { createBroker } from '../../../src/broker/broker.js';
import type { Broker, ConsumeOptions, ConsumerSink, Receipt } from '../../../src/broker/types.js';
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

  it('nothing that is in order', async () => {
    const longest = 'x'.repeat(200);
    await broker.createTopic(topic(longest));
    assert.equal((await publish('orders', longest, 1))?.messageCount, 1);
  });
});
