import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { useBroker } from '../../support/broker-process.js';
import { ack, nack, TestConsumer } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';

describe('delivery in order of the partition', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  async function createTopic(name: string, partitionCount = 1): Promise<void> {
    await client.admin.createTopic({ topic: { name, partitionCount } });
  }

  it('delivers in order, and never again what was acknowledged', async () => {
    await createTopic('plain');
    await publish(client, 'plain', texts('m', 100));
    const first = await TestConsumer.open(client, { topic: 'plain', subscription: 's' });
    const messages = await first.take(100);
    assert.deepEqual(
      messages.map(({ text }) => text),
      texts('m', 100),
    );
    const { settledCount, stale } = await first.settle(messages.slice(0, 60), ack);
    assert.equal(settledCount, 60n);
    assert.deepEqual(stale, []);
    first.close();
    const second = await TestConsumer.open(client, { topic: 'plain', subscription: 's' });
    assert.deepEqual(await second.takeTexts(40), texts('m', 100).slice(60));
    second.close();
  });

  it('delivers again, in order, from a message that failed', async () => {
    await createTopic('failing');
    await publish(client, 'failing', texts('m', 5));
    const consumer = await TestConsumer.open(client, { topic: 'failing', subscription: 's' });
    const [m0, m1, m2] = await consumer.take(5);
    await consumer.settle([m0!, m2!], ack);
    await consumer.settle([m1!], nack(0));
    // m2 was acknowledged and does not come again; m3 and m4 were revoked and come after m1.
    const again = await consumer.take(3);
    assert.deepEqual(
      again.map(({ text, attempt }) => [text, attempt]),
      [
        ['m-1', 2],
        ['m-3', 1],
        ['m-4', 1],
      ],
    );
    consumer.close();
  });

  it('says what it has taken back behind a nack before it answers the nack and delivers again', async () => {
    await createTopic('taken-back');
    await publish(client, 'taken-back', texts('m', 3));
    const consumer = await TestConsumer.open(client, { topic: 'taken-back', subscription: 's' });
    const [m0] = await consumer.take(3);
    await consumer.settle([m0!], nack(0));
    await consumer.take(3);
    const [first, ...rest] = consumer.events;
    assert.deepEqual([first, rest[0]], ['delivered 3', 'revoked 0:1-2']);
    // The redelivery does not wait for the commit that the answer waits for.
    assert.deepEqual(rest.slice(1).sort(), ['delivered 1', 'delivered 2', 'settled']);
    consumer.close();
  });

  it('says which leases have lapsed', async () => {
    await createTopic('lapsed');
    await publish(client, 'lapsed', texts('m', 2));
    const ackDeadline = { seconds: 1n };
    await client.admin.createSubscription({ subscription: { topic: 'lapsed', name: 's', ackDeadline } });
    const consumer = await TestConsumer.open(client, { topic: 'lapsed', subscription: 's' });
    await consumer.take(2);
    await consumer.until(() => consumer.events.includes('revoked 0:0-1'));
    assert.equal((await consumer.take(2))[0]!.attempt, 2);
    consumer.close();
  });

  it('reports a settlement of what was revoked as stale, and leaves the message alone', async () => {
    await createTopic('stale');
    await publish(client, 'stale', texts('m', 3));
    const consumer = await TestConsumer.open(client, { topic: 'stale', subscription: 's' });
    const [m0, m1] = await consumer.take(3);
    await consumer.settle([m0!], nack(60_000));
    const { settledCount, stale } = await consumer.settle([m1!], ack);
    assert.equal(settledCount, 0n);
    assert.deepEqual(
      stale.map((each) => [each.partition, each.firstOffset, each.lastOffset]),
      [[0, 1n, 1n]],
    );
    const { statuses } = await client.admin.getMessage({ topic: 'stale', partition: 0, offset: 1n });
    assert.equal(statuses[0]?.state, 1, 'the message is pending');
    consumer.close();
  });

  it('frees what a consumer held as soon as its stream ends', async () => {
    await createTopic('freed');
    await publish(client, 'freed', texts('m', 3));
    const first = await TestConsumer.open(client, { topic: 'freed', subscription: 's' });
    await first.take(3);
    const second = await TestConsumer.open(client, { topic: 'freed', subscription: 's' });
    assert.equal(second.inbox.length, 0);
    first.close();
    const messages = await second.take(3);
    assert.deepEqual(
      messages.map(({ text, attempt }) => [text, attempt]),
      [
        ['m-0', 1],
        ['m-1', 1],
        ['m-2', 1],
      ],
    );
    second.close();
  });

  it('spreads partitions evenly, and moves one only when what is outstanding in it is settled', async () => {
    await createTopic('shared', 4);
    for (let partition = 0; partition < 4; partition++)
      await publish(client, 'shared', [`p${partition}`], partition);
    const first = await TestConsumer.open(client, { topic: 'shared', subscription: 's' });
    const messages = await first.take(4);
    const second = await TestConsumer.open(client, { topic: 'shared', subscription: 's' });
    for (let partition = 0; partition < 4; partition++)
      await publish(client, 'shared', [`q${partition}`], partition);
    // All four are held by the first: the second has none until some are settled.
    assert.equal(second.assignments.flat().length, 0);
    await first.settle(messages, ack);
    await second.until(() => second.assignments.at(-1)?.length === 2);
    await first.until(() => first.assignments.at(-1)?.length === 2);
    const assigned = [...first.assignments.at(-1)!, ...second.assignments.at(-1)!].sort();
    assert.deepEqual(assigned, [0, 1, 2, 3]);
    const received = [...(await second.takeTexts(2)), ...(await first.takeTexts(2))].sort();
    assert.deepEqual(received, ['q0', 'q1', 'q2', 'q3']);
    first.close();
    second.close();
  });

  it('gives every subscription every message, independently', async () => {
    await createTopic('many');
    await publish(client, 'many', texts('m', 3));
    for (const subscription of ['a', 'b']) {
      const consumer = await TestConsumer.open(client, { topic: 'many', subscription });
      assert.deepEqual(await consumer.takeTexts(3), texts('m', 3));
      consumer.close();
    }
  });
});
