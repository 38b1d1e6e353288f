import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { connect, Producer, type Receipt, type SluiceClient, SluiceError } from '@sluice/client';
import { BrokerProcess, showLogOnFailure } from '../support/broker-process.js';

/** One that nobody listens on at the moment. */
async function freePort(): Promise<number> {
  const server = createServer();
  const port = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('Producer of the TypeScript client', () => {
  let broker: BrokerProcess;
  let client: SluiceClient;
  before(async () => {
    // Where it was before a restart, it is to be found again.
    broker = await BrokerProcess.start({ args: ['--listen', `127.0.0.1:${await freePort()}`] });
    client = connect(broker.address);
  });
  showLogOnFailure(() => broker);
  after(async () => {
    client?.close();
    await broker?.dispose();
  });

  /** Every message of a topic: its payload as text, by `partition/offset`. */
  async function stored(topic: string): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for await (const { runs } of client.broker.read({ topic })) {
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
    await client.admin.createTopic({ topic: { name: 'places', partitionCount: 4 } });
    const producer = await Producer.open(client, { topic: 'places' });
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
    const producer = await Producer.open(client, { topic: 'refusing', batchMaxMessages: 2 });
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
    const older = await Producer.open(client, options);
    await older.send({ payload: '1' });
    await older.send({ payload: '2' });
    const newer = await Producer.open(client, options);
    assert.equal(newer.lastSequence, 2n);
    await newer.send({ payload: '3' });
    await assert.rejects(older.send({ payload: 'late' }), { reason: 'PRODUCER_FENCED' });
    await assert.rejects(older.send({ payload: 'later' }), { reason: 'PRODUCER_FENCED' });
    await older.close();
    await newer.close();
    assert.deepEqual([...(await stored('named')).values()], ['1', '2', '3']);
  });

  it('holds its callers, or refuses them, while the buffer is full', async () => {
    const size = 1_000;
    const waiting = await Producer.open(client, { topic: 'buffered', bufferMaxBytes: 4 * size, lingerMs: 1 });
    const failing = await Producer.open(client, { topic: 'buffered', bufferMaxBytes: 1, whenFull: 'fail' });
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

  it('stores everything once and in order through a broker that is killed again and again', async function () {
    this.timeout(120_000);
    const total = 20_000;
    await client.admin.createTopic({ topic: { name: 'kills', partitionCount: 2 } });
    const producer = await Producer.open(client, { topic: 'kills', bufferMaxBytes: 200_000 });
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
      await broker.restart();
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
