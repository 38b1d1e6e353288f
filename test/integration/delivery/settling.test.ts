import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { Ordering } from '@sluice/client/api';
import { useBroker } from '../../support/broker-process.js';
import { ack, deadLetter, extend, nack, TestConsumer, toDuration } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';

describe('settling', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  async function open(topic: string, count: number, ackDeadlineMs = 30_000): Promise<TestConsumer> {
    await client.admin.createSubscription({
      subscription: {
        topic,
        name: 's',
        ordering: Ordering.NONE,
        ackDeadline: toDuration(ackDeadlineMs),
        retry: { minBackoff: toDuration(1), maxBackoff: toDuration(1) },
      },
    });
    await publish(client, topic, texts('m', count));
    return TestConsumer.open(client, { topic, subscription: 's' });
  }

  const outcomes = { ack, nack: nack(0), extend: extend(60_000), 'dead-letter': deadLetter('late') };
  for (const [name, outcome] of Object.entries(outcomes)) {
    it(`leaves a redelivery alone that came after what the consumer had read: ${name}`, async () => {
      const consumer = await open(`late-${name}`, 1, 150);
      const [first] = await consumer.take(1);
      const [again] = await consumer.take(1);
      assert.equal(again?.attempt, 2);
      const late = await consumer.settle([first!], outcome, first!.deliveryId);
      assert.equal(late.settledCount, 0n);
      assert.deepEqual(
        late.stale.map(({ firstOffset, lastOffset }) => [firstOffset, lastOffset]),
        [[0n, 0n]],
      );
      consumer.close();
    });
  }

  it('leaves a redelivery alone also by Acknowledge', async () => {
    const consumer = await open('late-unary', 1, 150);
    const [first] = await consumer.take(1);
    const [again] = await consumer.take(1);
    await consumer.settle([again!], extend(60_000), again!.deliveryId);
    const settle = (lastDeliveryId: number) =>
      client.broker.acknowledge({
        sessionId: consumer.sessionId,
        settlements: [{ offsets: { partition: 0, firstOffset: 0n, lastOffset: 0n }, outcome: ack }],
        lastDeliveryId: BigInt(lastDeliveryId),
      });
    assert.equal((await settle(first!.deliveryId)).stale.length, 1);
    assert.equal((await settle(again!.deliveryId)).settledCount, 1n);
    consumer.close();
  });
});
