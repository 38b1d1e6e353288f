import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { Consumer_WaitReason as WaitReason } from '@sluice/client/api';
import { useBroker } from '../../support/broker-process.js';
import { ack, TestConsumer } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';

describe('credit of zero', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  for (const [name, zero, some, reason] of [
    ['messages', { maxMessages: 0 }, { messages: 100 }, WaitReason.MESSAGE_CREDIT],
    ['bytes', { maxBytes: 0 }, { bytes: 1_000_000 }, WaitReason.BYTE_CREDIT],
  ] as const) {
    it(`of ${name} pauses from the start, says so, and is lifted on the stream`, async () => {
      await publish(client, name, texts('m', 10));
      const consumer = await TestConsumer.open(client, { topic: name, subscription: 's', ...zero });
      const { consumers } = await client.admin.listConsumers({ topic: name });
      assert.equal(consumers[0]?.waitReason, reason);
      assert.equal(consumers[0]?.outstandingMessageCount, 0n);
      await publish(client, name, ['one more']);
      assert.equal(consumer.inbox.length, 0);
      await consumer.setCredit(some);
      const messages = await consumer.take(11);
      await consumer.settle(messages, ack);
      consumer.close();
    });
  }

  it('set again and again, in any order, leaves what the last one said', async () => {
    await publish(client, 'repeated', texts('m', 10));
    const consumer = await TestConsumer.open(client, {
      topic: 'repeated',
      subscription: 's',
      maxMessages: 0,
    });
    for (const messages of [5, 0, 5, 5, 3]) await consumer.setCredit({ messages });
    await consumer.take(3);
    let found = (await client.admin.listConsumers({ topic: 'repeated' })).consumers[0];
    // The last limit may be on its way: five were let out under the one before it at most.
    while (found?.flowControl?.maxOutstandingMessages !== 3) {
      found = (await client.admin.listConsumers({ topic: 'repeated' })).consumers[0];
    }
    assert(found.outstandingMessageCount <= 5n);
    assert.equal(found.waitReason, WaitReason.MESSAGE_CREDIT);
    consumer.close();
  });
});
