import assert from 'node:assert/strict';
import { connect, type SluiceClient, SluiceError, StatusCode } from '@sluice/client';
import { useBroker } from '../../support/broker-process.js';
import { ack, TestConsumer } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';

async function firstOf(stream: AsyncIterable<unknown>): Promise<unknown> {
  for await (const message of stream) return message;
  return undefined;
}

describe('topics and subscriptions under live streams', () => {
  const broker = useBroker({ args: ['--max-partition-count', '8', '--auto-create-topics=false'] });
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  async function reasonOf(result: Promise<unknown>): Promise<string | undefined> {
    const error = await result.catch((thrown: unknown) => thrown);
    assert.ok(error instanceof SluiceError, String(error));
    return error.reason;
  }

  it('makes no topic by itself where that is switched off', async () => {
    assert.equal(await reasonOf(publish(client, 'absent', ['m'])), 'AUTO_CREATE_DISABLED');
    assert.equal(
      await reasonOf(TestConsumer.open(client, { topic: 'absent', subscription: 's' })),
      'AUTO_CREATE_DISABLED',
    );
  });

  it('ends consumers when their topic or subscription is deleted, and says why', async () => {
    await client.admin.createTopic({ topic: { name: 'doomed' } });
    const first = await TestConsumer.open(client, { topic: 'doomed', subscription: 'a' });
    const second = await TestConsumer.open(client, { topic: 'doomed', subscription: 'b' });
    await client.admin.deleteSubscription({ topic: 'doomed', name: 'a' });
    assert.equal(((await first.ended) as SluiceError).reason, 'SUBSCRIPTION_DELETED');
    await client.admin.deleteTopic({ name: 'doomed' });
    assert.equal(((await second.ended) as SluiceError).reason, 'TOPIC_DELETED');
    const request = { sessionId: second.sessionId, settlements: [] };
    assert.equal(await reasonOf(client.broker.acknowledge(request)), 'SESSION_NOT_FOUND');
    assert.equal(await reasonOf(client.admin.getTopic({ name: 'doomed' })), 'TOPIC_NOT_FOUND');
  });

  it('ends a consumer whose subscription is deleted while the call makes it', async () => {
    await client.admin.createTopic({ topic: { name: 'hasty' } });
    await publish(client, 'hasty', texts('m', 3));
    for (let i = 0; i < 30; i++) {
      const name = `s${i}`;
      const ending = TestConsumer.open(client, { topic: 'hasty', subscription: name }).then(
        (consumer) => consumer.ended,
        (thrown: unknown) => thrown,
      );
      const isDeleted = () =>
        client.admin.deleteSubscription({ topic: 'hasty', name }).then(
          () => true,
          () => false,
        );
      while (!(await isDeleted()));
      assert.equal(((await ending) as SluiceError).reason, 'SUBSCRIPTION_DELETED');
    }
  });

  it('leaves nothing of a deleted topic or subscription, also after a kill', async () => {
    await client.admin.createTopic({ topic: { name: 'reborn' } });
    await publish(client, 'reborn', texts('old', 5));
    const before = await TestConsumer.open(client, { topic: 'reborn', subscription: 's' });
    await before.settle(await before.take(5), ack);
    await client.admin.deleteTopic({ name: 'reborn' });
    await broker.kill();
    await broker.restart();
    client.close();
    client = connect(broker.address);
    await client.admin.createTopic({ topic: { name: 'reborn' } });
    await publish(client, 'reborn', texts('new', 2));
    const after = await TestConsumer.open(client, { topic: 'reborn', subscription: 's' });
    assert.deepEqual(await after.takeTexts(2), texts('new', 2));
    after.close();
  });

  it('names the field of a setting that is out of range', async () => {
    const topic = { name: 'ranges' };
    const subscription = { topic: 'ranges', name: 's' };
    await client.admin.createTopic({ topic });
    await client.admin.createSubscription({ subscription });
    const { admin } = client;
    const long = { seconds: 86_401n, nanos: 0 };
    const refusals: [Promise<unknown>, string][] = [
      [admin.createTopic({ topic: { name: 'other', partitionCount: 9 } }), 'topic.partition_count'],
      [
        admin.updateSubscription({ subscription: { ...subscription, ackDeadline: long } }),
        'subscription.ack_deadline',
      ],
      [
        admin.updateSubscription({ subscription: { ...subscription, retry: { minBackoff: long } } }),
        'subscription.retry.min_backoff',
      ],
      [
        admin.createSubscription({
          subscription: { ...subscription, name: 'b', deadLetter: { maxAttempts: 10_001 } },
        }),
        'subscription.dead_letter.max_attempts',
      ],
      [admin.listTopics({ pageToken: 'x' }), 'page_token'],
      [
        firstOf(client.broker.subscribe({ topic: 'ranges', subscription: 's', consumerId: 'x'.repeat(201) })),
        'consumer_id',
      ],
      [firstOf(admin.redriveDeadLetters({ topic: 'ranges', subscription: 's', rate: -1 })), 'rate'],
    ];
    for (const [refusal, field] of refusals) {
      const error = await refusal.catch((thrown: unknown) => thrown);
      assert.ok(error instanceof SluiceError, field);
      assert.equal(error.fieldViolations[0]?.field, field, error.message);
      assert.equal(error.code, StatusCode.INVALID_ARGUMENT);
    }
  });

  it('grows a topic under its consumers, who then get the new partitions', async () => {
    await client.admin.createTopic({ topic: { name: 'growing', partitionCount: 1 } });
    const consumer = await TestConsumer.open(client, { topic: 'growing', subscription: 's' });
    await consumer.until(() => consumer.assignments.at(-1)?.length === 1);
    await client.admin.updateTopic({
      topic: { name: 'growing', partitionCount: 3 },
      updateMask: { paths: ['partition_count'] },
    });
    await consumer.until(() => consumer.assignments.at(-1)?.length === 3);
    for (let partition = 0; partition < 3; partition++)
      await publish(client, 'growing', [`p${partition}`], partition);
    assert.deepEqual((await consumer.takeTexts(3)).sort(), ['p0', 'p1', 'p2']);
    const shrink = client.admin.updateTopic({
      topic: { name: 'growing', partitionCount: 2 },
      updateMask: { paths: ['partition_count'] },
    });
    assert.equal(await reasonOf(shrink), 'INVALID_FIELD');
    const large = client.admin.createTopic({ topic: { name: 'large', partitionCount: 9 } });
    assert.equal(await reasonOf(large), 'INVALID_FIELD');
    consumer.close();
  });

  it('takes the same again for the same, and anything else for a conflict', async () => {
    const topic = { name: 'again', partitionCount: 2 };
    await client.admin.createTopic({ topic });
    await client.admin.createTopic({ topic });
    assert.equal(
      await reasonOf(client.admin.createTopic({ topic: { ...topic, partitionCount: 3 } })),
      'TOPIC_EXISTS',
    );
    const subscription = { topic: 'again', name: 's' };
    await client.admin.createSubscription({ subscription });
    await client.admin.createSubscription({ subscription });
    const other = { ...subscription, ackDeadline: { seconds: 7n, nanos: 0 } };
    assert.equal(
      await reasonOf(client.admin.createSubscription({ subscription: other })),
      'SUBSCRIPTION_EXISTS',
    );
  });

  it('lists everything once, in pages', async () => {
    for (const name of texts('page', 7)) await client.admin.createTopic({ topic: { name } });
    const names: string[] = [];
    let pageToken = '';
    do {
      const page = await client.admin.listTopics({ pageSize: 3, pageToken });
      names.push(...page.topics.map((topic) => topic.name));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    assert.deepEqual(names, [...new Set(names)].sort());
    for (const name of texts('page', 7)) assert.ok(names.includes(name), name);
  });

  it('frees everything of clients that vanish', async () => {
    await client.admin.createTopic({ topic: { name: 'vanishing' } });
    await publish(client, 'vanishing', texts('m', 10));
    for (let i = 0; i < 8; i++) {
      const other = connect(broker.address);
      const consumer = await TestConsumer.open(other, { topic: 'vanishing', subscription: 's' });
      if (i % 2 === 0) consumer.close();
      other.close();
      if (i % 2 === 1) consumer.close();
    }
    const last = await TestConsumer.open(client, { topic: 'vanishing', subscription: 's' });
    // Attempts of the first message were counted for sessions that broke after its delivery; the others only came back.
    const messages = await last.take(10);
    assert.deepEqual(
      messages.slice(1).map(({ attempt }) => attempt),
      Array(9).fill(1),
    );
    const { consumers } = await client.admin.listConsumers({ topic: 'vanishing' });
    assert.deepEqual(
      consumers.map(({ sessionId }) => sessionId),
      [last.sessionId],
    );
    last.close();
  });
});
