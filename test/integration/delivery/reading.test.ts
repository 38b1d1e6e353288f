import assert from 'node:assert/strict';
import { connect, type SluiceClient, SluiceError } from '@sluice/client';
import { StartPosition_Boundary as Boundary } from '@sluice/client/api';
import { useBroker } from '../../support/broker-process.js';
import { ack, deliveredOf, TestConsumer } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';

describe('reading and seeking', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  type ReadRequest = Parameters<SluiceClient['broker']['read']>[0];

  async function read(request: ReadRequest): Promise<string[]> {
    const found: string[] = [];
    for await (const { runs } of client.broker.read(request))
      found.push(...deliveredOf(runs).map(({ text }) => text));
    return found;
  }

  const offset = (value: number) => ({ position: { case: 'offset' as const, value: BigInt(value) } });
  const boundary = (value: Boundary) => ({ position: { case: 'boundary' as const, value } });

  it('begins where it is told, and ends at the end or at the limit', async () => {
    await publish(client, 'log', texts('m', 10));
    assert.deepEqual(await read({ topic: 'log' }), texts('m', 10));
    assert.deepEqual(await read({ topic: 'log', start: offset(7) }), ['m-7', 'm-8', 'm-9']);
    assert.deepEqual(await read({ topic: 'log', start: offset(2), limit: 2n }), ['m-2', 'm-3']);
    assert.deepEqual(await read({ topic: 'log', start: boundary(Boundary.LATEST) }), []);
    assert.deepEqual(await read({ topic: 'log', start: offset(10) }), []);
    const error = await read({ topic: 'log', start: offset(11) }).catch((thrown: unknown) => thrown);
    assert.ok(error instanceof SluiceError);
    assert.equal(error.reason, 'OFFSET_OUT_OF_RANGE');
  });

  it('begins at a time', async () => {
    await publish(client, 'timed', ['before']);
    const { run } = await client.admin.getMessage({ topic: 'timed', partition: 0, offset: 0n });
    const { seconds, nanos } = run!.publishTime!;
    const after = { seconds, nanos: nanos + 1_000_000 };
    const atMs = Number(seconds) * 1000 + nanos / 1_000_000 + 1;
    // The broker's clock has whole milliseconds: the next message has to be accepted in a later one.
    while (Date.now() <= atMs);
    await publish(client, 'timed', ['after']);
    const start = (time: { seconds: bigint; nanos: number }) => ({
      position: { case: 'time' as const, value: time },
    });
    assert.deepEqual(await read({ topic: 'timed', start: start(after) }), ['after']);
    assert.deepEqual(await read({ topic: 'timed', start: start({ seconds, nanos }) }), ['before', 'after']);
    assert.deepEqual(
      await read({ topic: 'timed', start: start({ seconds: seconds + 3600n, nanos: 0 }) }),
      [],
    );
  });

  it('follows the log, over all partitions, until it is told to stop or the topic is deleted', async () => {
    await client.admin.createTopic({ topic: { name: 'followed', partitionCount: 2 } });
    await publish(client, 'followed', ['a'], 0);
    const stream = client.broker.read({ topic: 'followed', follow: true });
    const found: string[] = [];
    let wanted = 1;
    let reached = () => {};
    const reading = (async () => {
      for await (const { runs } of stream) {
        found.push(...deliveredOf(runs).map(({ text }) => text));
        if (found.length >= wanted) reached();
      }
    })();
    reading.catch(() => {});
    const until = (count: number) =>
      new Promise<void>((resolve) => {
        wanted = count;
        reached = resolve;
        if (found.length >= count) resolve();
      });
    await until(1);
    await publish(client, 'followed', ['b'], 1);
    await until(2);
    await publish(client, 'followed', ['c'], 0);
    await until(3);
    // A partition that is added later belongs to every partition.
    await client.admin.updateTopic({
      topic: { name: 'followed', partitionCount: 3 },
      updateMask: { paths: ['partition_count'] },
    });
    await publish(client, 'followed', ['d'], 2);
    await until(4);
    assert.deepEqual(found, ['a', 'b', 'c', 'd']);
    await client.admin.deleteTopic({ name: 'followed' });
    const error = await reading.catch((thrown: unknown) => thrown);
    assert.ok(error instanceof SluiceError);
    assert.equal(error.reason, 'TOPIC_DELETED');
  });

  it('moves a subscription back and forth, with what was sought back to at attempt 1', async () => {
    await publish(client, 'sought', texts('m', 5));
    const first = await TestConsumer.open(client, { topic: 'sought', subscription: 's' });
    await first.settle(await first.take(5), ack);
    await client.admin.seekSubscription({ topic: 'sought', name: 's', position: offset(3) });
    const again = await first.take(2);
    assert.deepEqual(
      again.map(({ text, attempt }) => [text, attempt]),
      [
        ['m-3', 1],
        ['m-4', 1],
      ],
    );
    await client.admin.seekSubscription({
      topic: 'sought',
      name: 's',
      position: boundary(Boundary.EARLIEST),
    });
    const { settledCount, stale } = await first.settle([again[1]!], ack);
    assert.deepEqual(await first.takeTexts(5), texts('m', 5));
    assert.ok(settledCount === 0n ? stale.length === 1 : stale.length === 0);
    await client.admin.seekSubscription({ topic: 'sought', name: 's', position: boundary(Boundary.LATEST) });
    await publish(client, 'sought', ['new']);
    assert.deepEqual(await first.takeTexts(1), ['new']);
    first.close();
  });

  it('starts a subscription at its end where that is asked for', async () => {
    await publish(client, 'late', texts('old', 3));
    await client.admin.createSubscription({
      subscription: { topic: 'late', name: 's' },
      start: boundary(Boundary.LATEST),
    });
    await publish(client, 'late', ['new']);
    const consumer = await TestConsumer.open(client, { topic: 'late', subscription: 's' });
    assert.deepEqual(await consumer.takeTexts(1), ['new']);
    consumer.close();
  });

  it('ends at its limit, also where several partitions are read from the disk at once', async () => {
    await client.admin.createTopic({ topic: { name: 'limited', partitionCount: 4 } });
    for (const partition of [0, 1, 2, 3]) await publish(client, 'limited', texts('m', 50), partition);
    await broker.restart();
    client.close();
    client = connect(broker.address);
    for (const limit of [1, 49, 50, 51, 199, 200, 201]) {
      const { length } = await read({ topic: 'limited', limit: BigInt(limit) });
      assert.equal(length, Math.min(limit, 200));
    }
  });

  it('reads what has left memory as it reads what is in it', async () => {
    const payload = 'x'.repeat(500_000);
    for (let i = 0; i < 10; i++)
      await publish(
        client,
        'disk',
        Array.from({ length: 7 }, (_, j) => `${i}.${j}.${payload}`),
      );
    await broker.kill();
    await broker.restart();
    client.close();
    client = connect(broker.address);
    const consumer = await TestConsumer.open(client, {
      topic: 'disk',
      subscription: 's',
      maxBytes: 4_000_000,
    });
    for (let i = 0; i < 70; i++) {
      const [message] = await consumer.take(1);
      assert.equal(message?.text, `${Math.floor(i / 7)}.${i % 7}.${payload}`);
      await consumer.settle([message!], ack);
    }
    consumer.close();
  });
});
