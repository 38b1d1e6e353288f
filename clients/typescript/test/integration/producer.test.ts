import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { Producer, type Receipt, SluiceError } from '@sluice/client';
import { ClientBroker } from '../../../../test/support/client-broker.js';

describe('Producer of the TypeScript client', () => {
  const sluice = ClientBroker.use();

  /** Every message of a topic: its payload as text, by `partition/offset`. */
  async function stored(topic: string): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for await (const { runs } of sluice.client.broker.read({ topic })) {
      for (const { partition, firstOffset, messages } of runs) {
        for (const [i, { payload }] of messages.entries()) {
          found.set(`${partition}/${firstOffset + BigInt(i)}`, Buffer.from(payload).toString());
        }
      }
    }
    return found;
  }

  const placeOf = ({ partition, offset }: Receipt) => `${partition}/${offset}`;

  it('says where each message is, with and without keys, over several partitions', async () => {
    await sluice.client.admin.createTopic({ topic: { name: 'places', partitionCount: 4 } });
    const producer = await Producer.open(sluice.client, { topic: 'places' });
    const sending = Array.from({ length: 500 }, (_, i) =>
      producer.send({ payload: `m-${i}`, ...(i % 3 > 0 && { key: `key-${i % 17}` }) }),
    );
    const receipts = await Promise.all(sending);
    await producer.close();
    const found = await stored('places');
    assert.equal(found.size, 500);
    for (const [i, receipt] of receipts.entries()) {
      assert.equal(receipt.isDuplicate, false);
      assert.equal(found.get(placeOf(receipt)), `m-${i}`);
    }
  });

  it('fails what is refused for good, alone, and keeps the order of the rest', async () => {
    const producer = await Producer.open(sluice.client, { topic: 'refusing', batchMaxMessages: 2 });
    const sending = ['a', 'b', 'c', 'd', 'e', 'f'].map((text, i) =>
      producer
        .send({ payload: text, ...(i === 2 && { headers: { 'sluice-mine': 'no' } }) })
        .catch((error: unknown) => SluiceError.from(error).reason),
    );
    const results = await Promise.all(sending);
    assert.deepEqual(
      results.map((result) => (typeof result === 'string' ? result : 'stored')),
      ['stored', 'stored', 'RESERVED_HEADER', 'RESERVED_HEADER', 'stored', 'stored'],
    );
    await producer.close();
    assert.deepEqual([...(await stored('refusing')).values()], ['a', 'b', 'e', 'f']);
  });

  it('goes on where a process of its name ended, which it fences', async () => {
    const options = { topic: 'named', producerId: 'till-4' };
    const older = await Producer.open(sluice.client, options);
    await older.send({ payload: '1' });
    await older.send({ payload: '2' });
    const newer = await Producer.open(sluice.client, options);
    assert.equal(newer.lastSequence, 2n);
    await newer.send({ payload: '3' });
    await assert.rejects(older.send({ payload: 'late' }), { reason: 'PRODUCER_FENCED' });
    await assert.rejects(older.send({ payload: 'later' }), { reason: 'PRODUCER_FENCED' });
    await older.close();
    await newer.close();
    assert.deepEqual([...(await stored('named')).values()], ['1', '2', '3']);
  });

  it('does not take for its own what another process of its name stored while its stream was broken', async () => {
    const options = { topic: 'taken-over', producerId: 'till-5' };
    const older = await sluice.client.producer(options);
    await older.send({ payload: '1' });
    const newer = await sluice.client.producer(options);
    await newer.send({ payload: '2' });
    await newer.send({ payload: '3' });
    await sluice.broker.kill();
    const late = older.send({ payload: 'late' });
    const refused = assert.rejects(late, { reason: 'PRODUCER_FENCED' });
    await sluice.broker.start();
    await refused;
    await newer.close();
    await older.close();
    assert.deepEqual([...(await stored('taken-over')).values()], ['1', '2', '3']);
  });

  it('holds its callers, or refuses them, while the buffer is full', async () => {
    const size = 1_000;
    const waiting = await Producer.open(sluice.client, {
      topic: 'buffered',
      bufferMaxBytes: 4 * size,
      lingerMs: 1,
    });
    const failing = await Producer.open(sluice.client, {
      topic: 'buffered',
      bufferMaxBytes: 1,
      whenFull: 'fail',
    });
    const payload = 'x'.repeat(size);
    await Promise.all(Array.from({ length: 50 }, () => waiting.send({ payload })));
    const first = failing.send({ payload });
    await assert.rejects(failing.send({ payload }), { reason: 'BUFFER_FULL' });
    await first;
    await waiting.close();
    await failing.close();
    assert.equal((await stored('buffered')).size, 51);
    await assert.rejects(waiting.send({ payload }), { reason: 'CLOSED' });
  });

  it('takes what was handed over before it is closed, also what stands in line for room', async () => {
    const producer = await sluice.client.producer({ topic: 'in-line', bufferMaxBytes: 1_000 });
    const payload = 'x'.repeat(600);
    const sending = Array.from({ length: 20 }, () => producer.send({ payload }));
    const flushed = producer.flush();
    const closed = producer.close();
    await assert.rejects(producer.send({ payload }), { reason: 'CLOSED' });
    await flushed;
    assert.equal((await stored('in-line')).size, 20);
    await Promise.all(sending);
    await closed;
  });

  it('gives up what could not be stored in time, and goes on with what is behind it', async () => {
    const options = { topic: 'in-time', batchMaxMessages: 1, retryTimeoutMs: 300, retryMaxBackoffMs: 60_000 };
    const producer = await sluice.client.producer(options);
    await producer.send({ payload: '1' });
    await sluice.broker.kill();
    const late = ['2', '3'].map((payload) => producer.send({ payload }));
    for (const each of late) await assert.rejects(each, { reason: 'RETRY_TIMEOUT' });
    // It has not given up the broker.
    const starting = sluice.broker.start();
    const send = () => producer.send({ payload: '4' });
    let isStored = false;
    while (!isStored)
      isStored = await send().then(
        () => true,
        () => false,
      );
    await starting;
    await send();
    await producer.close();
    const found = [...(await stored('in-time')).values()];
    assert.deepEqual([...new Set(found)], ['1', '4'], 'what was given up is not there');
    assert.equal(producer.lastSequence, BigInt(found.length));
  });

  it('stores everything once and in order through a broker that is killed again and again', async function () {
    this.timeout(120_000);
    const total = 20_000;
    await sluice.client.admin.createTopic({ topic: { name: 'kills', partitionCount: 2 } });
    const producer = await Producer.open(sluice.client, { topic: 'kills', bufferMaxBytes: 200_000 });
    let receiptCount = 0;
    let duplicateCount = 0;
    const producing = (async () => {
      const sending: Promise<void>[] = [];
      for (let i = 0; i < total; i++) {
        // The buffer makes room in the order of the receipts: the loop is as fast as the broker.
        const sent = producer.send({ key: `key-${i % 7}`, payload: String(i) });
        sending.push(
          sent.then(({ isDuplicate }) => {
            receiptCount++;
            if (isDuplicate) duplicateCount++;
          }),
        );
        if (i % 100 === 0) await sent;
      }
      await Promise.all(sending);
      await producer.close();
    })();
    for (let kill = 1; kill <= 4; kill++) {
      const until = (kill * total) / 6 + randomInt(total / 10);
      while (receiptCount < until) await new Promise((resolve) => setImmediate(resolve));
      await sluice.broker.restart();
    }
    await producing;
    const found = await stored('kills');
    const byKey = new Map<number, number>();
    assert.equal(found.size, total, `${duplicateCount} were found to be duplicates`);
    for (const text of found.values()) {
      const i = Number(text);
      const before = byKey.get(i % 7);
      assert.equal(i, before === undefined ? i % 7 : before + 7, 'out of order, lost or doubled');
      byKey.set(i % 7, i);
    }
  });
});
