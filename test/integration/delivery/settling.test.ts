import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { Ordering, MessageStatus_State as State } from '@sluice/client/api';
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

  it('says of a settlement that contradicts an earlier one that it is stale, and of the same once more nothing', async () => {
    const consumer = await open('contradicting', 6);
    const messages = await consumer.take(6);
    const [acked, given, nacked] = messages;
    const stale = async (message: typeof acked, outcome: typeof ack) => {
      const result = await consumer.settle([message!], outcome);
      assert.equal(result.settledCount, 0n);
      return result.stale.map(({ firstOffset, lastOffset }) => `${firstOffset}-${lastOffset}`);
    };
    await consumer.settle([acked!], ack);
    assert.deepEqual(await stale(acked, ack), []);
    for (const outcome of [nack(0), extend(1_000), deadLetter('no')]) {
      assert.deepEqual(await stale(acked, outcome), ['0-0'], `${outcome.case} before there are dead letters`);
    }
    await consumer.settle([given!], deadLetter('no'));
    assert.deepEqual(await stale(given, deadLetter('again')), []);
    for (const outcome of [ack, extend(1_000)]) assert.deepEqual(await stale(given, outcome), ['1-1']);
    for (const outcome of [nack(0), extend(1_000), deadLetter('no')]) {
      assert.deepEqual(await stale(acked, outcome), ['0-0'], `${outcome.case} beside dead letters`);
    }
    // Ranges, with what is outstanding among them.
    await consumer.settle([nacked!], deadLetter('no'));
    await consumer.settle([messages[3]!], ack);
    const all = await consumer.settleRanges([{ partition: 0, first: 0, last: 4 }], ack);
    assert.equal(all.settledCount, 1n);
    assert.deepEqual(
      all.stale.map(({ firstOffset, lastOffset }) => [firstOffset, lastOffset]),
      [[1n, 2n]],
    );
    const failed = await consumer.settleRanges([{ partition: 0, first: 0, last: 5 }], deadLetter('no'));
    assert.equal(failed.settledCount, 1n);
    assert.deepEqual(
      failed.stale.map(({ firstOffset, lastOffset }) => [firstOffset, lastOffset]),
      [
        [0n, 0n],
        [3n, 4n],
      ],
    );
    consumer.close();
  });

  it('says nothing of an acknowledgement that is repeated, of a message that was dead-lettered before a seek', async () => {
    const before = await open('sought', 2);
    const [given] = await before.take(2);
    await before.settle([given!], deadLetter('no'));
    await client.admin.seekSubscription({
      topic: 'sought',
      name: 's',
      position: { position: { case: 'offset', value: 0n } },
    });
    const again = await before.take(2);
    assert.equal((await before.settle([again[0]!], ack)).settledCount, 1n);
    assert.deepEqual((await before.settle([again[0]!], ack)).stale, []);
    assert.equal((await before.settle([again[0]!], nack(0))).stale.length, 1);
    const { statuses } = await client.admin.getMessage({ topic: 'sought', partition: 0, offset: 0n });
    assert.equal(statuses[0]?.state, State.DONE);
    before.close();
  });

  it('knows what was dead-lettered before a kill of the broker', async () => {
    const before = await open('remembered', 2);
    const [given] = await before.take(2);
    await before.settle([given!], deadLetter('no'));
    await broker.kill();
    await broker.restart();
    client.close();
    client = connect(broker.address);
    const after = await TestConsumer.open(client, { topic: 'remembered', subscription: 's' });
    const { stale } = await after.settle([given!], ack);
    assert.equal(stale.length, 1);
    after.close();
  });
});
