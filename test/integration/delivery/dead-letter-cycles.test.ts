import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type SluiceClient, SluiceError } from '@sluice/client';
import type { SubscriptionConfig } from '../../../src/base/model.js';
import { BrokerProcess, useBroker } from '../../support/broker-process.js';
import { ack, deadLetter, nack, TestConsumer } from '../../support/consumer.js';
import { publish } from '../../support/producer.js';
import { commit, createTopic, openIn, subscriptionConfig } from '../storage/harness.js';

async function failureOf(call: Promise<unknown>): Promise<SluiceError> {
  const error = await call.then(
    () => assert.fail('the call did not fail'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof SluiceError, String(error));
  return error;
}

describe('cycles of dead-letter topics', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  const create = (topic: string, name: string, deadLetterTopic = '', disabled = false) =>
    client.admin.createSubscription({
      subscription: { topic, name, deadLetter: { topic: deadLetterTopic, disabled, maxAttempts: 1 } },
    });
  const update = (topic: string, name: string, deadLetterTopic: string) =>
    client.admin.updateSubscription({
      subscription: { topic, name, deadLetter: { topic: deadLetterTopic } },
      updateMask: { paths: ['dead_letter'] },
    });
  const topicExists = async (name: string) =>
    client.admin.getTopic({ name }).then(
      () => true,
      () => false,
    );

  it("refuses a subscription's own topic, and makes nothing", async () => {
    for (const disabled of [false, true]) {
      const { reason, fieldViolations } = await failureOf(create('own', 's', 'own', disabled));
      assert.equal(reason, 'INVALID_FIELD');
      assert.equal(fieldViolations[0]?.field, 'subscription.dead_letter.topic');
    }
    assert.equal(await topicExists('own'), false);
    await create('own', 's');
    assert.equal((await failureOf(update('own', 's', 'own'))).reason, 'INVALID_FIELD');
    const { subscription } = await client.admin.getSubscription({ topic: 'own', name: 's' });
    assert.equal(subscription?.deadLetter?.topic, '');
  });

  it('refuses what closes a cycle, when it is made and when it is changed', async () => {
    await create('one', 's', 'two');
    const made = await failureOf(create('two', 's', 'one'));
    assert.equal(made.reason, 'DEAD_LETTER_CYCLE');
    assert.match(made.message, /"two" → "one" → "two"/);
    await create('two', 's', 'three');
    await create('three', 's');
    const changed = await failureOf(update('three', 's', 'one'));
    assert.equal(changed.reason, 'DEAD_LETTER_CYCLE');
    assert.match(changed.message, /"three" → "one" → "two" → "three"/);
    await update('three', 's', 'four');
    await update('one', 's', 'elsewhere');
    await update('three', 's', 'one');
  });

  it('refuses a cycle over topics that do not exist yet, or that are made again', async () => {
    await create('early', 's', 'late');
    assert.equal((await failureOf(create('late', 's', 'early'))).reason, 'DEAD_LETTER_CYCLE');
    assert.equal(await topicExists('late'), false);
    await create('late', 's');
    await client.admin.deleteTopic({ name: 'late' });
    await client.admin.createTopic({ topic: { name: 'late' } });
    assert.equal((await failureOf(create('late', 's', 'early'))).reason, 'DEAD_LETTER_CYCLE');
    await client.admin.deleteTopic({ name: 'early' });
    await create('late', 's', 'early');
    assert.equal((await failureOf(create('early', 's', 'late'))).reason, 'DEAD_LETTER_CYCLE');
  });

  it('refuses a consumer whose default dead-letter topic closes a cycle', async () => {
    await create('work.s.dead-letter', 'again', 'work');
    const consumer = TestConsumer.open(client, { topic: 'work', subscription: 's' });
    const { reason, message } = await failureOf(consumer);
    assert.equal(reason, 'DEAD_LETTER_CYCLE');
    assert.match(message, /"work" → "work\.s\.dead-letter" → "work"/);
    assert.equal(await topicExists('work'), false);
    (await TestConsumer.open(client, { topic: 'work', subscription: 'other' })).close();
  });
});

describe('a store of before cycles were refused', () => {
  let directory: string;
  let broker: BrokerProcess;
  let client: SluiceClient;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-cycles-'));
    const storage = await openIn(directory);
    const put = async (topicId: number, topic: string, target: string) => {
      const subscriptionId = storage.nextSubscriptionId();
      const deadLetter = { maxAttempts: 1, topic: target, isDisabled: false };
      const config: SubscriptionConfig = {
        ...subscriptionConfig(topic, 's'),
        ordering: 'partition',
        deadLetter,
      };
      const quick = { ...config, minBackoffMs: 1, maxBackoffMs: 1 };
      await commit(storage, { putSubscriptions: [{ subscriptionId, topicId, config: quick }] });
    };
    const topicIds = [];
    for (const name of ['self', 'ping', 'pong']) topicIds.push(await createTopic(storage, name));
    await put(topicIds[0]!, 'self', 'self');
    await put(topicIds[1]!, 'ping', 'pong');
    await put(topicIds[2]!, 'pong', 'ping');
    await storage.close();
    broker = await BrokerProcess.start({ dataDirectory: directory });
    client = connect(broker.address);
  });
  afterEach(async () => {
    client.close();
    await broker.dispose();
    await rm(directory, { recursive: true });
  });

  const nextOffset = async (name: string) => {
    const { topic } = await client.admin.getTopic({ name });
    return Number(topic?.partitions[0]?.nextOffset);
  };

  it('opens, warns, and delivers again instead of dead-lettering in a cycle', async () => {
    const warnings = broker.logLines.filter((line) => line.includes('would come back to its topic'));
    assert.equal(warnings.length, 3, broker.tail());
    assert.ok(
      warnings.some((line) => line.includes('\\"ping\\" → \\"pong\\" → \\"ping\\"')),
      warnings.join('\n'),
    );
    for (const topic of ['self', 'ping']) {
      await publish(client, topic, ['poison']);
      const consumer = await TestConsumer.open(client, { topic, subscription: 's' });
      for (let attempt = 1; attempt <= 3; attempt++) {
        const [message] = await consumer.take(1);
        assert.equal(message?.attempt, attempt);
        await consumer.settle([message!], nack());
      }
      await consumer.settle(await consumer.take(1), ack);
      consumer.close();
      assert.equal(await nextOffset(topic), 1);
    }
    assert.equal(await nextOffset('pong'), 0);
  });

  it('refuses to dead-letter by hand, and loses nothing', async () => {
    await publish(client, 'ping', ['poison']);
    const consumer = await TestConsumer.open(client, { topic: 'ping', subscription: 's' });
    await consumer.settle(await consumer.take(1), deadLetter('broken')).catch(() => {});
    assert.equal(((await consumer.ended) as SluiceError).reason, 'DEAD_LETTER_CYCLE');
    const next = await TestConsumer.open(client, { topic: 'ping', subscription: 's' });
    assert.deepEqual(await next.takeTexts(1), ['poison']);
    next.close();
    assert.equal(await nextOffset('pong'), 0);
  });

  it('dead-letters again once the cycle is broken', async () => {
    const subscription = { topic: 'pong', name: 's', deadLetter: { topic: 'end', maxAttempts: 1 } };
    await client.admin.updateSubscription({ subscription, updateMask: { paths: ['dead_letter'] } });
    await publish(client, 'ping', ['poison']);
    for (const topic of ['ping', 'pong']) {
      const consumer = await TestConsumer.open(client, { topic, subscription: 's' });
      await consumer.settle(await consumer.take(1), nack());
      consumer.close();
    }
    assert.equal(await nextOffset('end'), 1);
    assert.equal(await nextOffset('ping'), 1);
  });
});
