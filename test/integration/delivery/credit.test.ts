import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { Consumer_WaitReason as WaitReason } from '@sluice/client/api';
import { useBroker } from '../../support/broker-process.js';
import { ack, TestConsumer } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';

describe('credit', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  /** The one consumer of a topic, as the broker sees it. */
  async function consumerOf(topic: string) {
    const { consumers } = await client.admin.listConsumers({ topic });
    assert.equal(consumers.length, 1);
    return consumers[0]!;
  }

  it('bounds the messages that are outstanding, and is given back by settling', async () => {
    await publish(client, 'messages', texts('m', 20));
    const consumer = await TestConsumer.open(client, {
      topic: 'messages',
      subscription: 's',
      maxMessages: 5,
    });
    const first = await consumer.take(5);
    const held = await consumerOf('messages');
    assert.equal(held.outstandingMessageCount, 5n);
    assert.equal(held.waitReason, WaitReason.MESSAGE_CREDIT);
    await consumer.settle(first.slice(0, 2), ack);
    assert.deepEqual(await consumer.takeTexts(2), ['m-5', 'm-6']);
    assert.equal((await consumerOf('messages')).outstandingMessageCount, 5n);
    consumer.close();
  });

  it('bounds the bytes that are outstanding, passed by one message at most', async () => {
    const payload = 'x'.repeat(1_000);
    await publish(
      client,
      'bytes',
      Array.from({ length: 10 }, () => payload),
    );
    const consumer = await TestConsumer.open(client, { topic: 'bytes', subscription: 's', maxBytes: 2_500 });
    const first = await consumer.take(3);
    const held = await consumerOf('bytes');
    assert.equal(held.outstandingMessageCount, 3n);
    assert.equal(held.waitReason, WaitReason.BYTE_CREDIT);
    await consumer.settle(first, ack);
    await consumer.take(3);
    consumer.close();
  });

  it('lets one message through that is larger than all of it', async () => {
    await publish(client, 'large', ['x'.repeat(100_000), 'y']);
    const consumer = await TestConsumer.open(client, { topic: 'large', subscription: 's', maxBytes: 10 });
    const [large] = await consumer.take(1);
    assert.equal(large?.text.length, 100_000);
    assert.equal((await consumerOf('large')).outstandingMessageCount, 1n);
    await consumer.settle([large!], ack);
    assert.deepEqual(await consumer.takeTexts(1), ['y']);
    consumer.close();
  });

  it('pauses at zero, while settling goes on, and resumes', async () => {
    await publish(client, 'paused', texts('m', 4));
    const consumer = await TestConsumer.open(client, { topic: 'paused', subscription: 's', maxMessages: 2 });
    const first = await consumer.take(2);
    const { flowControl } = await client.broker.updateFlowControl({
      sessionId: consumer.sessionId,
      flowControl: { maxOutstandingMessages: 0 },
    });
    assert.equal(flowControl?.maxOutstandingMessages, 0);
    const { settledCount } = await consumer.settle(first, ack);
    assert.equal(settledCount, 2n);
    assert.equal((await consumerOf('paused')).waitReason, WaitReason.MESSAGE_CREDIT);
    assert.equal(consumer.inbox.length, 0);
    await consumer.setCredit({ messages: 10 });
    assert.deepEqual(await consumer.takeTexts(2), ['m-2', 'm-3']);
    consumer.close();
  });

  it('says why a consumer waits: caught up, or another has every partition', async () => {
    await publish(client, 'reasons', ['m']);
    const first = await TestConsumer.open(client, { topic: 'reasons', subscription: 's', consumerId: 'one' });
    await first.take(1);
    const second = await TestConsumer.open(client, {
      topic: 'reasons',
      subscription: 's',
      consumerId: 'two',
    });
    const { consumers } = await client.admin.listConsumers({ topic: 'reasons', subscription: 's' });
    const reasons = new Map(consumers.map(({ consumerId, waitReason }) => [consumerId, waitReason]));
    assert.equal(reasons.get('one'), WaitReason.CAUGHT_UP);
    assert.equal(reasons.get('two'), WaitReason.NOT_ASSIGNED);
    first.close();
    second.close();
  });
});
