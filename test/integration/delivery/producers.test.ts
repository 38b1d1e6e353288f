import assert from 'node:assert/strict';
import { connect, type SluiceClient, SluiceError } from '@sluice/client';
import { useBroker } from '../../support/broker-process.js';
import { deliveredOf } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';

describe('producers', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  /** One request of an idempotent producer. */
  async function publishSequence(
    topic: string,
    epoch: number,
    firstSequence: number,
    payloads: readonly string[],
  ) {
    const call = client.broker.publish();
    const producer = { producerId: 'p', epoch: BigInt(epoch), firstSequence: BigInt(firstSequence) };
    const messages = payloads.map((text) => ({ payload: Buffer.from(text) }));
    await call.write({ topic, producer, messages }).catch(() => {});
    call.end();
    return call.result;
  }

  async function readAll(topic: string): Promise<string[]> {
    const read = [];
    for await (const { runs } of client.broker.read({ topic })) read.push(...deliveredOf(runs));
    return read.map(({ text }) => text);
  }

  async function reasonOf(result: Promise<unknown>): Promise<string | undefined> {
    const error = await result.then(
      () => assert.fail('it was accepted'),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof SluiceError, String(error));
    return error.reason;
  }

  it('store nothing twice, also across a kill, and resume where GetProducer says', async () => {
    await publishSequence('twice', 1, 1, ['a', 'b']);
    const again = await publishSequence('twice', 1, 1, ['a', 'b', 'c']);
    assert.equal(again.duplicateCount, 2n);
    assert.equal(again.messageCount, 3n);
    await broker.kill();
    await broker.restart();
    client.close();
    client = connect(broker.address);
    const { lastSequence, epoch } = await client.broker.getProducer({ topic: 'twice', producerId: 'p' });
    assert.deepEqual([lastSequence, epoch], [3n, 1n]);
    const all = await publishSequence('twice', 1, 1, ['a', 'b', 'c']);
    assert.equal(all.duplicateCount, 3n);
    await publishSequence('twice', 1, 4, ['d']);
    assert.deepEqual(await readAll('twice'), ['a', 'b', 'c', 'd']);
  });

  it('are refused when they skip a number, and when another has taken over', async () => {
    await publishSequence('rules', 1, 1, ['a']);
    assert.equal(await reasonOf(publishSequence('rules', 1, 3, ['c'])), 'SEQUENCE_GAP');
    await publishSequence('rules', 2, 2, ['b']);
    assert.equal(await reasonOf(publishSequence('rules', 1, 3, ['c'])), 'PRODUCER_FENCED');
    assert.deepEqual(await readAll('rules'), ['a', 'b']);
    assert.equal(
      await reasonOf(client.broker.getProducer({ topic: 'rules', producerId: 'q' })),
      'PRODUCER_NOT_FOUND',
    );
  });

  it('are claimed by opening: each caller has an epoch of its own, and fences those before', async () => {
    const producer = { topic: 'claimed', producerId: 'p' };
    const opened = await Promise.all([1, 2, 3].map(() => client.broker.openProducer(producer)));
    assert.deepEqual(opened.map(({ epoch }) => epoch).sort(), [1n, 2n, 3n]);
    assert.deepEqual(
      opened.map(({ lastSequence }) => lastSequence),
      [0n, 0n, 0n],
    );
    assert.equal(await reasonOf(publishSequence('claimed', 2, 1, ['x'])), 'PRODUCER_FENCED');
    await publishSequence('claimed', 3, 1, ['a', 'b']);
    await broker.kill();
    await broker.restart();
    client.close();
    client = connect(broker.address);
    const { epoch, lastSequence } = await client.broker.getProducer(producer);
    assert.deepEqual([epoch, lastSequence], [3n, 2n], 'looking claims nothing');
    const next = await client.broker.openProducer(producer);
    assert.deepEqual([next.epoch, next.lastSequence], [4n, 2n]);
    await broker.kill();
    await broker.restart();
    client.close();
    client = connect(broker.address);
    assert.equal(await reasonOf(publishSequence('claimed', 3, 3, ['x'])), 'PRODUCER_FENCED');
    await publishSequence('claimed', 4, 3, ['c']);
    assert.deepEqual(await readAll('claimed'), ['a', 'b', 'c']);
  });

  it('get the same epoch for a repeated claim, until another one claims, also across a kill', async () => {
    const producer = { topic: 'repeated', producerId: 'p' };
    const first = await client.broker.openProducer({ ...producer, claimId: 77n });
    const again = await client.broker.openProducer({ ...producer, claimId: 77n });
    assert.deepEqual([first.epoch, again.epoch], [1n, 1n]);
    await broker.kill();
    await broker.restart();
    client.close();
    client = connect(broker.address);
    assert.equal((await client.broker.openProducer({ ...producer, claimId: 77n })).epoch, 1n);
    await publishSequence('repeated', 1, 1, ['a']);
    const late = await client.broker.openProducer({ ...producer, claimId: 77n });
    assert.deepEqual([late.epoch, late.lastSequence], [1n, 1n], 'a first try that arrives behind a batch');
    assert.equal((await client.broker.openProducer({ ...producer, claimId: 78n })).epoch, 2n);
    assert.equal((await client.broker.openProducer({ ...producer, claimId: 77n })).epoch, 3n);
    assert.equal((await client.broker.openProducer(producer)).epoch, 4n, 'zero is no number');
    assert.equal((await client.broker.openProducer(producer)).epoch, 5n);
  });

  it('are refused the highest epoch, above which none could be claimed', async () => {
    const highest = Number.MAX_SAFE_INTEGER;
    assert.equal(await reasonOf(publishSequence('highest', highest, 1, ['a'])), 'INVALID_FIELD');
    assert.equal(await reasonOf(publishSequence('highest', highest, 0, [])), 'INVALID_FIELD');
    await publishSequence('highest', highest - 1, 1, ['a']);
    const producer = { topic: 'highest', producerId: 'p' };
    assert.equal((await client.broker.openProducer(producer)).epoch, BigInt(highest));
    assert.equal(await reasonOf(client.broker.openProducer(producer)), 'PRODUCER_FENCED');
    assert.equal((await client.broker.getProducer(producer)).lastSequence, 1n, 'the broker serves on');
  });

  it('claim anew only while the epoch is theirs', async () => {
    const producer = { topic: 'renewed', producerId: 'p' };
    await client.broker.openProducer(producer);
    await publishSequence('renewed', 1, 1, ['a']);
    const renewed = await client.broker.openProducer({ ...producer, currentEpoch: 1n, claimId: 5n });
    assert.deepEqual([renewed.epoch, renewed.lastSequence], [2n, 1n]);
    const repeated = await client.broker.openProducer({ ...producer, currentEpoch: 1n, claimId: 5n });
    assert.equal(repeated.epoch, 2n, 'its first answer was lost');
    assert.equal(
      await reasonOf(client.broker.openProducer({ ...producer, currentEpoch: 1n, claimId: 6n })),
      'PRODUCER_FENCED',
    );
    assert.equal((await client.broker.getProducer(producer)).epoch, 2n, 'a refused claim changes nothing');
  });

  it('take no message of an earlier epoch for a repetition, also after a kill', async () => {
    await publishSequence('takeover', 1, 1, ['a', 'b', 'c']);
    assert.equal(await reasonOf(publishSequence('takeover', 2, 2, ['d'])), 'SEQUENCE_REUSED');
    assert.equal(
      (await publishSequence('takeover', 1, 3, ['c'])).duplicateCount,
      1n,
      'refused: claims nothing',
    );
    await publishSequence('takeover', 2, 4, ['d', 'e']);
    await broker.kill();
    await broker.restart();
    client.close();
    client = connect(broker.address);
    assert.equal((await publishSequence('takeover', 2, 4, ['d', 'e'])).duplicateCount, 2n);
    assert.equal(await reasonOf(publishSequence('takeover', 2, 3, ['x', 'd'])), 'SEQUENCE_REUSED');
    assert.deepEqual(await readAll('takeover'), ['a', 'b', 'c', 'd', 'e']);
  });

  it('are claimed by a request without messages that brings a higher epoch', async () => {
    await publishSequence('empty', 1, 1, ['a']);
    const claim = await publishSequence('empty', 5, 0, []);
    assert.deepEqual([claim.messageCount, claim.duplicateCount], [0n, 0n]);
    assert.equal(await reasonOf(publishSequence('empty', 1, 2, ['x'])), 'PRODUCER_FENCED');
    assert.equal(await reasonOf(publishSequence('empty', 4, 0, [])), 'PRODUCER_FENCED');
    await broker.kill();
    await broker.restart();
    client.close();
    client = connect(broker.address);
    const { epoch, lastSequence } = await client.broker.openProducer({ topic: 'empty', producerId: 'p' });
    assert.deepEqual([epoch, lastSequence], [6n, 1n]);
  });

  it('leave nothing of a request that is refused, and everything of those before it', async () => {
    const call = client.broker.publish();
    await call.write({ topic: 'prefix', messages: [{ payload: Buffer.from('one') }] });
    await call.write({ messages: [{ payload: Buffer.from('two') }] }).catch(() => {});
    await call.write({ partition: 7, messages: [{ payload: Buffer.from('three') }] }).catch(() => {});
    await call.write({ messages: [{ payload: Buffer.from('four') }] }).catch(() => {});
    call.end();
    const error = await call.result.catch((thrown: unknown) => thrown);
    assert.ok(error instanceof SluiceError);
    assert.equal(error.reason, 'UNKNOWN_PARTITION');
    assert.deepEqual(await readAll('prefix'), ['one', 'two']);
  });

  it('put equal keys into one partition, in order, and spread the others', async () => {
    await client.admin.createTopic({ topic: { name: 'spread', partitionCount: 4 } });
    const keyed = Array.from({ length: 400 }, (_, i) => ({ text: String(i), key: `key-${i % 40}` }));
    const { ranges } = await publish(client, 'spread', keyed);
    assert.equal(ranges.length, 4, 'forty keys use four partitions');
    const partitionOf = new Map<string, number>();
    const last = new Map<string, number>();
    for await (const { runs } of client.broker.read({ topic: 'spread' })) {
      for (const { key, text, partition } of deliveredOf(runs)) {
        assert.equal(partitionOf.get(key) ?? partition, partition);
        partitionOf.set(key, partition);
        assert.ok((last.get(key) ?? -1) < Number(text));
        last.set(key, Number(text));
      }
    }
    assert.equal(last.size, 40);
    await client.admin.createTopic({ topic: { name: 'keyless', partitionCount: 4 } });
    for (let i = 0; i < 8; i++) {
      const receipt = await publish(client, 'keyless', texts('m', 10));
      assert.equal(receipt.ranges.length, 1, 'a batch stays whole');
    }
    const { topic } = await client.admin.getTopic({ name: 'keyless' });
    assert.deepEqual(
      topic?.partitions.map(({ nextOffset }) => nextOffset),
      [20n, 20n, 20n, 20n],
    );
  });

  it('are told when their topic is deleted under the open stream', async () => {
    const call = client.broker.publishStream();
    const answers = call[Symbol.asyncIterator]();
    await call.write({ topic: 'doomed', batchId: 1n, messages: [{ payload: Buffer.from('m') }] });
    assert.equal((await answers.next()).value?.error, undefined);
    await client.admin.deleteTopic({ name: 'doomed' });
    await call.write({ batchId: 2n, messages: [{ payload: Buffer.from('m') }] });
    const { value } = await answers.next();
    assert.equal(value?.batchId, 2n);
    assert.equal(value?.error?.reason, 'TOPIC_DELETED');
    // A stream that names it anew makes a new topic, with nothing of the old one in it.
    await publish(client, 'doomed', ['new']);
    assert.deepEqual(await readAll('doomed'), ['new']);
    call.end();
  });
});
