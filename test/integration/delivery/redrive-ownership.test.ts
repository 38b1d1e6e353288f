import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { connect, type SluiceClient } from '@sluice/client';
import { deadLetterHeaders } from '../../../src/envelope/dead-letter-origin.js';
import { PublishRequestSchema } from '../../../src/gen/sluice/v1/broker_pb.js';
import { BrokerProcess, useBroker } from '../../support/broker-process.js';
import { ack, deadLetter, TestConsumer } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';
import { commit, createTopic, openIn, subscriptionConfig } from '../storage/harness.js';

interface Counts {
  readonly redriven: number;
  readonly remaining: number;
}

/** What a redrive says at its end. */
async function redrive(
  client: SluiceClient,
  topic: string,
  subscription: string,
  options: { dryRun?: boolean; limit?: bigint; rate?: number } = {},
): Promise<Counts | undefined> {
  let last: Counts | undefined;
  for await (const said of client.admin.redriveDeadLetters({ topic, subscription, ...options })) {
    last = { redriven: Number(said.redrivenCount), remaining: Number(said.remainingCount) };
  }
  return last;
}

const none = { redriven: 0, remaining: 0 };

describe('whose dead letters a redrive sends back', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  const createSubscription = (topic: string, name: string, deadLetterTopic = '') =>
    client.admin.createSubscription({
      subscription: { topic, name, deadLetter: { topic: deadLetterTopic } },
    });
  const open = (topic: string, subscription: string) => TestConsumer.open(client, { topic, subscription });

  /** Publishes messages and dead-letters them. */
  async function giveUp(topic: string, subscription: string, messages: readonly string[]): Promise<void> {
    const consumer = await open(topic, subscription);
    await publish(client, topic, messages);
    await consumer.settle(await consumer.take(messages.length), deadLetter('broken'));
    consumer.close();
  }

  async function nextOffset(topic: string): Promise<number> {
    const { topic: found } = await client.admin.getTopic({ name: topic });
    return Number(found?.partitions[0]?.nextOffset);
  }

  it('are not those of a deleted topic of the name', async () => {
    await createSubscription('topic', 's');
    await giveUp('topic', 's', texts('old', 3));
    await client.admin.deleteTopic({ name: 'topic' });
    await client.admin.createTopic({ topic: { name: 'topic' } });
    await createSubscription('topic', 's');
    assert.deepEqual(await redrive(client, 'topic', 's', { dryRun: true }), none);
    assert.deepEqual(await redrive(client, 'topic', 's'), none);
    await giveUp('topic', 's', texts('new', 2));
    assert.deepEqual(await redrive(client, 'topic', 's', { dryRun: true, limit: 1n }), {
      redriven: 1,
      remaining: 1,
    });
    assert.deepEqual(await redrive(client, 'topic', 's', { limit: 1n }), { redriven: 1, remaining: 1 });
    assert.deepEqual(await redrive(client, 'topic', 's', { rate: 100 }), { redriven: 1, remaining: 0 });
    const consumer = await open('topic', 's');
    assert.deepEqual(await consumer.takeTexts(2), texts('new', 2));
    consumer.close();
    assert.equal(await nextOffset('topic'), 4);
  });

  it('are not those of a deleted subscription of the name, also after a restart', async () => {
    await createSubscription('sub', 's');
    await giveUp('sub', 's', texts('old', 3));
    await client.admin.deleteSubscription({ topic: 'sub', name: 's' });
    await createSubscription('sub', 's');
    assert.deepEqual(await redrive(client, 'sub', 's'), none);
    const consumer = await open('sub', 's');
    const messages = await consumer.take(3);
    assert.deepEqual(
      messages.map(({ text }) => text),
      texts('old', 3),
      'it begins at the beginning',
    );
    await consumer.settle([messages[1]!], deadLetter('broken'));
    consumer.close();
    await broker.restart();
    client.close();
    client = connect(broker.address);
    assert.deepEqual(await redrive(client, 'sub', 's'), { redriven: 1, remaining: 0 });
    assert.deepEqual(await redrive(client, 'sub', 's'), none);
  });

  it('are those that the subscription itself gave up last, where several gave a message up', async () => {
    await createSubscription('first', 's', 'letters');
    await createSubscription('letters', 'd', 'last');
    await giveUp('first', 's', texts('bad', 2));
    const consumer = await open('letters', 'd');
    await consumer.settle(await consumer.take(2), deadLetter('again'));
    consumer.close();
    assert.deepEqual(await redrive(client, 'letters', 'd'), { redriven: 2, remaining: 0 });
    assert.deepEqual(await redrive(client, 'first', 's'), { redriven: 2, remaining: 0 }, 'not the copies');
    await client.admin.deleteSubscription({ topic: 'letters', name: 'd' });
    await createSubscription('letters', 'd', 'last');
    assert.deepEqual(await redrive(client, 'letters', 'd'), none);
    await client.admin.deleteSubscription({ topic: 'first', name: 's' });
    await createSubscription('first', 's', 'letters');
    assert.deepEqual(await redrive(client, 'first', 's'), none);
  });

  it('shows consumers nothing of the id, and lets them publish what they got again', async () => {
    await createSubscription('kept', 's');
    await giveUp('kept', 's', ['bad']);
    const [message] = await (await open('kept.s.dead-letter', 'look')).take(1);
    assert.deepEqual(
      Object.keys(message!.headers).sort(),
      Object.values(deadLetterHeaders).toSorted(),
      'the headers that are documented',
    );
    // A client that keeps fields it does not know sends the id back with the message.
    for await (const { runs } of client.broker.read({ topic: 'kept.s.dead-letter' })) {
      const [message] = runs[0]!.messages;
      assert.notEqual(message!.$unknown, undefined);
      message!.headers = {};
      const call = client.broker.publish();
      await call.write({ topic: 'repaired', messages: [message!] });
      call.end();
      await call.result;
    }
    const repaired = await open('repaired', 's');
    await repaired.settle(await repaired.take(1), deadLetter('still broken'));
    repaired.close();
    assert.deepEqual(await redrive(client, 'repaired', 's'), { redriven: 1, remaining: 0 });
  });
});

describe('dead letters of before they had an id', () => {
  const createTimeMs = 1_700_000_000_000;

  it('belong to the subscription of the name that was there when they were dead-lettered', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'sluice-letters-'));
    const storage = await openIn(directory);
    const topicId = await createTopic(storage, 'orders');
    const deadLetterTopicId = await createTopic(storage, 'orders.billing.dead-letter');
    const config = { ...subscriptionConfig('orders', 'billing'), createTimeMs };
    await commit(storage, {
      putSubscriptions: [{ subscriptionId: storage.nextSubscriptionId(), topicId, config }],
    });
    const deadLetter = (text: string, timeMs: number) => ({
      payload: Buffer.from(text),
      headers: {
        [deadLetterHeaders.topic]: 'orders',
        [deadLetterHeaders.subscription]: 'billing',
        [deadLetterHeaders.partition]: '0',
        [deadLetterHeaders.offset]: '0',
        [deadLetterHeaders.time]: new Date(timeMs).toISOString(),
      },
    });
    const deadLetters = [
      deadLetter('older', createTimeMs - 1),
      deadLetter('own', createTimeMs),
      deadLetter('own too', createTimeMs + 1),
    ];
    for (const each of deadLetters) {
      const chunk = toBinary(PublishRequestSchema, create(PublishRequestSchema, { messages: [each] }));
      const size = { count: 1, byteLength: chunk.byteLength };
      await commit(storage, {
        appends: [{ topicId: deadLetterTopicId, partition: 0, producerId: '', chunks: [chunk], ...size }],
      });
    }
    await storage.close();
    const broker = await BrokerProcess.start({ dataDirectory: directory });
    const client = connect(broker.address);
    try {
      const counts = { redriven: 2, remaining: 0 };
      assert.deepEqual(await redrive(client, 'orders', 'billing', { dryRun: true }), counts);
      assert.deepEqual(await redrive(client, 'orders', 'billing'), counts);
      const consumer = await TestConsumer.open(client, { topic: 'orders', subscription: 'billing' });
      const messages = await consumer.take(2);
      assert.deepEqual(
        messages.map(({ text }) => text),
        ['own', 'own too'],
      );
      await consumer.settle(messages, ack);
      consumer.close();
    } finally {
      client.close();
      await broker.dispose();
      await rm(directory, { recursive: true });
    }
  });
});
