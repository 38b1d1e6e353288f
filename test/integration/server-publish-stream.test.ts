import assert from 'node:assert/strict';
import { SluiceError } from '../../src/base/errors.js';
import { limits } from '../../src/base/limits.js';
import { StatusCode } from '../../src/base/reasons.js';
import { Admin } from '../../src/gen/sluice/v1/admin_pb.js';
import { Broker } from '../../src/gen/sluice/v1/broker_pb.js';
import { FakeBroker, receiptOf } from '../support/fake-broker.js';
import { callUnary, type Harness, receivedError, startHarness, TestStream } from '../support/grpc-harness.js';

const { publishStream } = Broker.method;
const batch = (batchId: bigint) => ({ batchId, topic: 't', messages: [{ payload: Buffer.from('x') }] });

describe('PublishStream', () => {
  let broker: FakeBroker;
  let harness: Harness;

  beforeEach(async () => {
    broker = new FakeBroker();
    harness = await startHarness(broker);
  });
  afterEach(() => harness.close());

  it('sends headers before there is anything to answer', async () => {
    const stream = new TestStream(harness.client, publishStream);
    await stream.headers;
    stream.halfClose();
    assert.equal((await stream.status).code, 0);
  });

  it('answers in the order of the stream, whatever the order of the answers', async () => {
    const stream = new TestStream(harness.client, publishStream);
    const ids = [7n, 2n ** 64n - 1n, 0n];
    for (const id of ids) stream.send(batch(id));
    const publisher = await broker.publishers.next();
    const batches = await publisher.batches.take(3);
    for (const i of [2, 0, 1]) batches[i]?.done(undefined, receiptOf(batches[i].batch, i));
    const responses = await stream.responses.take(3);
    assert.deepEqual(
      responses.map((response) => [response.batchId, response.ranges[0]?.firstOffset]),
      ids.map((id, i) => [id, BigInt(i)]),
    );
    stream.halfClose();
    assert.equal((await stream.status).code, 0);
    await publisher.closed;
  });

  it('answers what is under way before it ends', async () => {
    const stream = new TestStream(harness.client, publishStream);
    stream.send(batch(1n));
    stream.halfClose();
    const publisher = await broker.publishers.next();
    const [pending] = await publisher.batches.take(1);
    await callUnary(harness.client, Admin.method.getServerInfo, {});
    pending?.done(undefined, receiptOf(pending.batch, 0));
    assert.equal((await stream.responses.next()).batchId, 1n);
    assert.equal((await stream.status).code, 0);
  });

  it('goes on after a refusal, in its place', async () => {
    broker.answer = ({ partition }) =>
      partition === 9
        ? new SluiceError('UNKNOWN_PARTITION', 'no partition 9')
        : { messageCount: 1, duplicateCount: 0, ranges: [], durability: 'written' };
    const stream = new TestStream(harness.client, publishStream);
    stream.send(batch(1n));
    stream.send({ ...batch(2n), partition: 9 });
    stream.send({ ...batch(3n), messages: [{ headers: { 'sluice-x': 'y' } }] });
    stream.sendBytes(Uint8Array.of(0x20, 0x04, 0x7a, 0x01, 0xff));
    stream.send(batch(5n));
    const responses = await stream.responses.take(5);
    assert.deepEqual(
      responses.map(({ batchId, error }) => [batchId, error?.reason]),
      [
        [1n, undefined],
        [2n, 'UNKNOWN_PARTITION'],
        [3n, 'RESERVED_HEADER'],
        [4n, 'MALFORMED_REQUEST'],
        [5n, undefined],
      ],
    );
    assert.equal(responses[1]?.error?.code, StatusCode.INVALID_ARGUMENT);
    stream.cancel();
  });

  it('answers a request that is a little too large, and ends at one that is not even read', async () => {
    broker.answer = (published) => receiptOf(published, 0);
    const stream = new TestStream(harness.client, publishStream);
    stream.send({ ...batch(1n), messages: [{ payload: new Uint8Array(limits.maxRequestBytes) }] });
    const { batchId, error } = await stream.responses.next();
    assert.deepEqual([batchId, error?.reason], [1n, 'REQUEST_TOO_LARGE']);
    stream.send(batch(2n));
    assert.equal((await stream.responses.next()).batchId, 2n);
    stream.sendBytes(new Uint8Array(limits.maxRequestBytes + limits.oversizeReadBytes + 1));
    assert.equal(receivedError(await stream.status).error.reason, 'REQUEST_TOO_LARGE');
  });

  it('ends at garbage that names no batch, after the answers before it', async () => {
    const stream = new TestStream(harness.client, publishStream);
    stream.send(batch(1n));
    stream.sendBytes(Uint8Array.of(0xff));
    const publisher = await broker.publishers.next();
    const [pending] = await publisher.batches.take(1);
    await callUnary(harness.client, Admin.method.getServerInfo, {});
    pending?.done(undefined, receiptOf(pending.batch, 0));
    assert.equal((await stream.responses.next()).batchId, 1n);
    assert.equal(receivedError(await stream.status).error.reason, 'MALFORMED_REQUEST');
    await publisher.closed;
  });

  it('reads no more than so many batches ahead of their answers', async () => {
    const stream = new TestStream(harness.client, publishStream);
    for (let i = 0; i < limits.batchesPerStream + 5; i++) stream.send(batch(BigInt(i)));
    const publisher = await broker.publishers.next();
    const batches = await publisher.batches.take(limits.batchesPerStream);
    for (let i = 0; i < 3; i++) await callUnary(harness.client, Admin.method.getServerInfo, {});
    assert.equal(publisher.batches.size, 0);
    assert.equal(publisher.isAwaitingReceipts, true);
    for (const [i, { batch: published, done }] of batches.entries()) done(undefined, receiptOf(published, i));
    await publisher.batches.take(5);
    stream.cancel();
    await publisher.closed;
  });

  it('stops reading from a client that does not read its answers', async () => {
    const batchCount = 8_000;
    let answeredCount = 0;
    broker.answer = (published) => {
      answeredCount++;
      return receiptOf(published, answeredCount);
    };
    const stream = new TestStream(harness.client, publishStream);
    await stream.headers;
    stream.pause();
    for (let i = 0; i < batchCount; i++) stream.send(batch(1n));
    // Goes on as long as a round trip brings anything new.
    for (let before = -1; before !== answeredCount; ) {
      before = answeredCount;
      for (let i = 0; i < 5; i++) await callUnary(harness.client, Admin.method.getServerInfo, {});
    }
    assert(answeredCount < batchCount, `took ${answeredCount} batches`);
    stream.resume();
    await stream.responses.take(batchCount);
    stream.cancel();
  });
});
