import assert from 'node:assert/strict';
import { connect, type SluiceClient, SluiceError } from '@sluice/client';
import { BacklogLimit_WhenFull as WhenFull } from '@sluice/client/api';
import { useBroker } from '../../support/broker-process.js';
import { ack, TestConsumer, toDuration } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';

describe('retention and backlog', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  async function extentOf(name: string) {
    const { topic } = await client.admin.getTopic({ name });
    return topic!.partitions[0]!;
  }

  /** Retention works in the background: looks until it has done what it should. */
  async function untilFirstOffset(name: string, firstOffset: bigint): Promise<void> {
    while ((await extentOf(name)).firstOffset < firstOffset);
  }

  it('deletes from a queue what every subscription has settled, and nothing else', async () => {
    await client.admin.createTopic({ topic: { name: 'queue', retention: { untilAcknowledged: true } } });
    for (const name of ['a', 'b'])
      await client.admin.createSubscription({ subscription: { topic: 'queue', name } });
    await publish(client, 'queue', texts('m', 10));
    const a = await TestConsumer.open(client, { topic: 'queue', subscription: 'a' });
    const b = await TestConsumer.open(client, { topic: 'queue', subscription: 'b' });
    await a.settle(await a.take(10), ack);
    const kept = await b.take(10);
    await b.settle(kept.slice(0, 4), ack);
    await untilFirstOffset('queue', 4n);
    assert.equal((await extentOf('queue')).firstOffset, 4n);
    await b.settle(kept.slice(4), ack);
    await untilFirstOffset('queue', 10n);
    // Offsets go on where they were, also after a restart with an empty log.
    await broker.kill();
    await broker.restart();
    client.close();
    client = connect(broker.address);
    const { ranges } = await publish(client, 'queue', ['next']);
    assert.equal(ranges[0]?.firstOffset, 10n);
  });

  it('keeps what is past a limit for a subscription that is behind, and deletes it once settled', async () => {
    await client.admin.createTopic({ topic: { name: 'aged', retention: { maxAge: toDuration(1) } } });
    await client.admin.createSubscription({ subscription: { topic: 'aged', name: 's' } });
    await publish(client, 'aged', texts('m', 5));
    // Another topic with the same limit and no subscription is swept later than this one: it shows that a sweep is over.
    await client.admin.createTopic({ topic: { name: 'aged-witness', retention: { maxAge: toDuration(1) } } });
    await publish(client, 'aged-witness', ['w']);
    await untilFirstOffset('aged-witness', 1n);
    assert.equal((await extentOf('aged')).firstOffset, 0n);
    const consumer = await TestConsumer.open(client, { topic: 'aged', subscription: 's' });
    await consumer.settle(await consumer.take(5), ack);
    await untilFirstOffset('aged', 5n);
    consumer.close();
  });

  it('deletes by size, settled or not, where the limit is hard; the subscription goes on behind it', async () => {
    await client.admin.createTopic({
      topic: { name: 'hard', retention: { maxBytes: 50_000n, dropUnacknowledged: true } },
    });
    await client.admin.createSubscription({ subscription: { topic: 'hard', name: 's' } });
    const payload = 'x'.repeat(10_000);
    for (let i = 0; i < 20; i++) await publish(client, 'hard', [payload]);
    await untilFirstOffset('hard', 15n);
    const { firstOffset, nextOffset, bytes } = await extentOf('hard');
    assert.equal(nextOffset, 20n);
    assert.ok(bytes <= 50_000n, `${bytes} bytes are kept`);
    const consumer = await TestConsumer.open(client, { topic: 'hard', subscription: 's' });
    const [first] = await consumer.take(Number(nextOffset - firstOffset));
    assert.equal(first?.offset, Number(firstOffset));
    consumer.close();
  });

  it('keeps the newest messages up to a hard limit, also of one large request', async () => {
    await client.admin.createTopic({
      topic: { name: 'one-request', retention: { maxBytes: 50_000n, dropUnacknowledged: true } },
    });
    await client.admin.createSubscription({ subscription: { topic: 'one-request', name: 's' } });
    await publish(client, 'one-request', Array(200).fill('x'.repeat(1_000)));
    await untilFirstOffset('one-request', 1n);
    const { firstOffset, nextOffset } = await extentOf('one-request');
    assert.equal(nextOffset, 200n);
    // An encoded message takes 1,006 bytes: 49 of them fit.
    assert.equal(firstOffset, 151n);
    const consumer = await TestConsumer.open(client, { topic: 'one-request', subscription: 's' });
    const [first] = await consumer.take(49);
    assert.equal(first?.offset, 151);
    consumer.close();
  });

  it('never deletes from a queue what is not settled, where only its limits are hard', async () => {
    const retention = { untilAcknowledged: true, dropUnacknowledged: true };
    await client.admin.createTopic({ topic: { name: 'hard-queue', retention } });
    await client.admin.createSubscription({ subscription: { topic: 'hard-queue', name: 's' } });
    await publish(client, 'hard-queue', texts('m', 5));
    // Swept later than the queue: once this is empty, a sweep of the queue is over.
    await client.admin.createTopic({ topic: { name: 'hard-witness', retention: { maxBytes: 1n } } });
    await publish(client, 'hard-witness', ['w', 'x']);
    await untilFirstOffset('hard-witness', 1n);
    assert.equal((await extentOf('hard-queue')).firstOffset, 0n);
    const consumer = await TestConsumer.open(client, { topic: 'hard-queue', subscription: 's' });
    await consumer.settle(await consumer.take(5), ack);
    await untilFirstOffset('hard-queue', 5n);
    consumer.close();
  });

  it('refuses what goes over a backlog limit, until something is settled', async () => {
    await client.admin.createTopic({
      topic: { name: 'rejecting', backlogLimit: { maxMessages: 5n, whenFull: WhenFull.REJECT } },
    });
    await client.admin.createSubscription({ subscription: { topic: 'rejecting', name: 's' } });
    await untilRefused();
    const refusal = await publish(client, 'rejecting', ['over']).catch((error: unknown) => error);
    assert.ok(refusal instanceof SluiceError);
    assert.equal(refusal.reason, 'BACKLOG_FULL');
    assert.ok(refusal.retryAfterMs! > 0);
    const consumer = await TestConsumer.open(client, { topic: 'rejecting', subscription: 's' });
    const { topic } = await client.admin.getTopic({ name: 'rejecting' });
    await consumer.settle(await consumer.take(Number(topic!.partitions[0]!.nextOffset)), ack);
    while ((await publish(client, 'rejecting', ['again']).catch(() => undefined)) === undefined);
    consumer.close();

    async function untilRefused(): Promise<void> {
      for (let count = 0; count < 100; count++) {
        const result = await publish(client, 'rejecting', ['m']).catch((error: unknown) => error);
        if (result instanceof SluiceError) return;
      }
      assert.fail('100 messages were accepted');
    }
  });

  it('holds a producer at a backlog limit, and lets it go on by itself', async () => {
    await client.admin.createTopic({
      topic: { name: 'blocking', backlogLimit: { maxMessages: 10n, whenFull: WhenFull.BLOCK } },
    });
    await client.admin.createSubscription({ subscription: { topic: 'blocking', name: 's' } });
    const call = client.broker.publishStream();
    const receipts: bigint[] = [];
    const count = 50;
    const receiving = (async () => {
      for await (const { batchId, error } of call) {
        assert.equal(error, undefined);
        receipts.push(batchId);
        if (receipts.length === count) break;
      }
    })();
    for (let i = 0; i < count; i++) {
      await call.write({
        topic: 'blocking',
        batchId: BigInt(i),
        messages: [{ payload: Buffer.from(`m-${i}`) }],
      });
    }
    const consumer = await TestConsumer.open(client, { topic: 'blocking', subscription: 's' });
    const received = [];
    while (received.length < count) {
      const { consumers } = await client.admin.listConsumers({ topic: 'blocking' });
      assert.ok(consumers[0]!.outstandingMessageCount <= 30n, 'the producer was not held');
      const [message] = await consumer.take(1);
      received.push(message!.text);
      await consumer.settle([message!], ack);
    }
    assert.deepEqual(received, texts('m', count));
    await receiving;
    assert.deepEqual(
      receipts,
      Array.from({ length: count }, (_, i) => BigInt(i)),
    );
    consumer.close();
  });
});
