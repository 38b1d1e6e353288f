import assert from 'node:assert/strict';
import { connect, Producer, SluiceError } from '@sluice/client';
import { ClientBroker } from '../../../../test/support/client-broker.js';
import { HoldingProxy } from '../../../../test/support/holding-proxy.js';
import { until } from '../../../../test/support/until.js';

describe('the name of a producer of the TypeScript client', () => {
  const sluice = ClientBroker.use();

  /** The payloads of a topic with one partition. */
  async function stored(topic: string): Promise<string[]> {
    const found: string[] = [];
    for await (const { runs } of sluice.client.broker.read({ topic })) {
      for (const { messages } of runs) {
        for (const { payload } of messages) found.push(Buffer.from(payload).toString());
      }
    }
    return found;
  }

  /** `stored`, `duplicate`, or the reason. */
  const outcome = (producer: Producer, payload: string): Promise<string> =>
    producer.send({ payload }).then(
      ({ isDuplicate }) => (isDuplicate ? 'duplicate' : 'stored'),
      (error: unknown) => SluiceError.from(error).reason,
    );

  it('belongs to one of two that open it together: no receipt without a stored message', async () => {
    const opened = [1, 2].map(() => Producer.open(sluice.client, { topic: 'replicas', producerId: 'web' }));
    const [one, other] = await Promise.all(opened);
    const payloads = Array.from({ length: 100 }, (_, i) => `m-${i}`);
    const received: string[] = [];
    const outcomes = new Map<Producer, Set<string>>([
      [one!, new Set()],
      [other!, new Set()],
    ]);
    for (const [i, payload] of payloads.entries()) {
      const producer = i % 2 === 0 ? one! : other!;
      const result = await outcome(producer, payload);
      outcomes.get(producer)!.add(result);
      if (result === 'stored') received.push(payload);
    }
    assert.deepEqual([...outcomes.values()].map((each) => [...each].join()).sort(), [
      'PRODUCER_FENCED',
      'stored',
    ]);
    assert.deepEqual(await stored('replicas'), received);
    await one!.close();
    await other!.close();
  });

  it('goes to a process that opens it while an older one sends', async () => {
    const options = { topic: 'takeover', producerId: 'web' };
    const older = await Producer.open(sluice.client, options);
    assert.equal(await outcome(older, 'A'), 'stored');
    const newer = await Producer.open(sluice.client, options);
    assert.equal(newer.lastSequence, 1n);
    const outcomes: string[] = [];
    for (const payload of ['B', 'C']) outcomes.push(await outcome(older, payload));
    for (const payload of ['D', 'E', 'F']) outcomes.push(await outcome(newer, payload));
    outcomes.push(await outcome(older, 'G'));
    const [fenced, taken] = ['PRODUCER_FENCED', 'stored'];
    assert.deepEqual(outcomes, [fenced, fenced, taken, taken, taken, fenced]);
    assert.deepEqual(await stored('takeover'), ['A', 'D', 'E', 'F']);
    await newer.close();
    await older.close();
  });

  it('stays fenced where the stream breaks with messages that wait', async () => {
    const proxy = await HoldingProxy.start(sluice.broker.address);
    const client = connect(proxy.address);
    const options = { topic: 'waiting', producerId: 'web', maxInFlight: 1, batchMaxMessages: 1 };
    const older = await client.producer(options);
    assert.equal(await outcome(older, 'A'), 'stored');
    proxy.hold();
    const waiting = ['B', 'C', 'D'].map((payload) => outcome(older, payload));
    await until(() => proxy.heldBytes > 0);
    const newer = await sluice.client.producer({ topic: 'waiting', producerId: 'web' });
    for (const payload of ['1', '2']) assert.equal(await outcome(newer, payload), 'stored');
    // The connection breaks, and nothing of what it held arrives.
    proxy.breakAll();
    assert.deepEqual(await Promise.all(waiting), Array(3).fill('PRODUCER_FENCED'));
    assert.equal(await outcome(older, 'E'), 'PRODUCER_FENCED');
    await newer.close();
    assert.deepEqual(await stored('waiting'), ['A', '1', '2']);
    client.close();
    proxy.close();
  });

  it('is kept through a kill of the broker between claim and first message', async () => {
    const options = { topic: 'claimed', producerId: 'web' };
    const older = await sluice.client.producer(options);
    assert.equal(await outcome(older, 'A'), 'stored');
    const newer = await sluice.client.producer(options);
    await sluice.broker.kill();
    await sluice.broker.start();
    assert.equal(await outcome(older, 'B'), 'PRODUCER_FENCED');
    assert.equal(await outcome(newer, 'C'), 'stored');
    assert.deepEqual(await stored('claimed'), ['A', 'C']);
    await newer.close();
    await older.close();
  });

  for (const isStored of [false, true]) {
    const what = isStored
      ? 'was stored before it was given up'
      : 'lies in a dead connection when it is given up';
    it(`lets no batch that ${what} be taken for the next one`, async () => {
      const topic = `given-up-${isStored}`;
      const proxy = await HoldingProxy.start(sluice.broker.address);
      const client = connect(proxy.address);
      const producerId = 'web';
      const producer = await client.producer({ topic, producerId, retryTimeoutMs: 3_000 });
      assert.equal(await outcome(producer, '1'), 'stored');
      if (isStored) proxy.swallowAnswers();
      else proxy.hold();
      assert.equal(await outcome(producer, 'given up'), 'RETRY_TIMEOUT');
      // Over a new connection the claim is renewed; what the old one holds arrives afterwards.
      proxy.abandon();
      const epoch = async () => (await sluice.client.broker.getProducer({ topic, producerId })).epoch;
      while ((await epoch()) !== 2n);
      await proxy.release();
      assert.equal(await outcome(producer, '2'), 'stored');
      assert.equal(await outcome(producer, '3'), 'stored');
      assert.deepEqual(await stored(topic), isStored ? ['1', 'given up', '2', '3'] : ['1', '2', '3']);
      assert.equal(producer.lastSequence, isStored ? 4n : 3n);
      await producer.close();
      client.close();
      proxy.close();
    });
  }
});
