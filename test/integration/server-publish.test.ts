import assert from 'node:assert/strict';
import { create, toBinary } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { Client, credentials, type StatusObject } from '@grpc/grpc-js';
import { SluiceError } from '../../src/base/errors.js';
import { limits } from '../../src/base/limits.js';
import type { Reason } from '../../src/base/reasons.js';
import { Admin } from '../../src/gen/sluice/v1/admin_pb.js';
import { Broker, type PublishFailure, PublishFailureSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import { Durability } from '../../src/gen/sluice/v1/message_pb.js';
import { FakeBroker, receiptOf } from '../support/fake-broker.js';
import { frame } from '../support/grpc-framing.js';
import { callUnary, type Harness, receivedError, startHarness, TestStream } from '../support/grpc-harness.js';
import { Http2Connection } from '../support/http2-connection.js';

const { publish } = Broker.method;
const one = { topic: 't', messages: [{ payload: Buffer.from('x') }] };

function failed(status: StatusObject, reason: Reason): PublishFailure {
  const { error, extra } = receivedError(status);
  assert.equal(error.reason, reason, error.message);
  assert.equal(status.code, error.code);
  const failure = extra[0] && anyUnpack(extra[0], PublishFailureSchema);
  assert(failure !== undefined, 'no PublishFailure');
  return failure;
}

describe('Publish', () => {
  let broker: FakeBroker;
  let harness: Harness;

  beforeEach(async () => {
    broker = new FakeBroker();
    harness = await startHarness(broker);
  });
  afterEach(() => harness.close());

  it('answers once, when the client is done and all is durable', async () => {
    const stream = new TestStream(harness.client, publish);
    stream.send({ ...one, messages: [{}, {}] });
    stream.send({ messages: [{}] });
    stream.halfClose();
    const publisher = await broker.publishers.next();
    const [first, second] = await publisher.batches.take(2);
    assert.equal(second?.batch.topic, 't');
    second?.done(undefined, receiptOf(second.batch, 12));
    first?.done(undefined, receiptOf(first.batch, 10));
    assert.equal((await stream.status).code, 0);
    const { messageCount, ranges, durability } = await stream.responses.next();
    assert.deepEqual([messageCount, durability], [3n, Durability.SYNCED]);
    assert.deepEqual(
      ranges.map((range) => [range.partition, range.firstOffset, range.lastOffset]),
      [[0, 10n, 12n]],
    );
    await publisher.closed;
  });

  it('takes compressed requests', async () => {
    const client = new Client(harness.server.address, credentials.createInsecure(), {
      'grpc.default_compression_algorithm': 2,
    });
    broker.answer = (batch) => receiptOf(batch, 0);
    const stream = new TestStream(client, publish);
    stream.send({ topic: 't', messages: [{ payload: new Uint8Array(50_000) }] });
    stream.halfClose();
    assert.equal((await stream.status).code, 0);
    client.close();
  });

  it('ends with what is durable, after the first refusal', async () => {
    const stream = new TestStream(harness.client, publish);
    for (let i = 0; i < 3; i++) stream.send(one);
    const publisher = await broker.publishers.next();
    const batches = await publisher.batches.take(3);
    batches[2]?.done(new SluiceError('BACKLOG_FULL', 'full', { retryAfterMs: 250 }), undefined);
    stream.send(one);
    batches[0]?.done(undefined, receiptOf(batches[0].batch, 5));
    batches[1]?.done(undefined, receiptOf(batches[1].batch, 6));
    const status = await stream.status;
    const failure = failed(status, 'BACKLOG_FULL');
    assert.equal(receivedError(status).error.details.retryAfterMs, 250);
    assert.equal(failure.durableRequestCount, 2n);
    assert.equal(failure.durable?.messageCount, 2n);
    assert.equal(failure.durable?.ranges[0]?.lastOffset, 6n);
    assert.equal(publisher.batches.size, 0, 'read on after a refusal');
  });

  it('keeps what it says of a failure small enough for the headers of any client', async () => {
    let first = 0;
    broker.answer = (batch) => {
      first += 2;
      return receiptOf(batch, first);
    };
    const stream = new TestStream(harness.client, publish);
    const requestCount = limits.maxRangesPerFailure + 1;
    for (let i = 0; i < requestCount; i++) stream.send(one);
    stream.send({ topic: 'ü'.repeat(200) });
    const status = await stream.status;
    const { durableRequestCount, durable } = failed(status, 'INVALID_NAME');
    assert.deepEqual([durableRequestCount, durable?.ranges], [BigInt(requestCount), []]);
    const headers = status.metadata.toHttp2Headers()['grpc-status-details-bin'];
    assert(String(headers).length + encodeURI(status.details).length < 8192);
  });

  it('refuses garbage, and says what was durable before', async () => {
    broker.answer = (batch) => receiptOf(batch, 0);
    const stream = new TestStream(harness.client, publish);
    stream.send(one);
    stream.sendBytes(Uint8Array.of(0x7a, 0xff));
    assert.equal(failed(await stream.status, 'MALFORMED_REQUEST').durableRequestCount, 1n);
  });

  it('refuses requests that are too large, read or unread, in the same words', async () => {
    broker.answer = (batch) => receiptOf(batch, 0);
    for (const excess of [1, limits.oversizeReadBytes + 1]) {
      const stream = new TestStream(harness.client, publish);
      stream.send(one);
      // Arrives after the first is stored: what it says of it is then certain.
      stream.sendBytes(new Uint8Array(limits.maxRequestBytes + excess));
      assert.equal(failed(await stream.status, 'REQUEST_TOO_LARGE').durableRequestCount, 1n);
    }
  });

  it('reads nothing while there is no room, and holds no more than the window', async () => {
    const windowBytes = 256 * 1024;
    const narrow = await startHarness(broker, { streamWindowBytes: windowBytes });
    broker.hasRoom = false;
    broker.answer = (batch) => receiptOf(batch, 0);
    const connection = await Http2Connection.open(narrow.server.address);
    const call = connection.call('/sluice.v1.Broker/Publish');
    const request = frame(
      toBinary(
        publish.input,
        create(publish.input, { topic: 't', messages: [{ payload: new Uint8Array(16_000) }] }),
      ),
    );
    let sentBytes = 0;
    const requestCount = 100;
    const allSent = new Promise<void>((resolve) => {
      for (let i = 0; i < requestCount; i++) {
        call.write(request, () => {
          sentBytes += request.length;
          if (i === requestCount - 1) resolve();
        });
      }
    });
    const publisher = await broker.publishers.next();
    // Each round trip lets the client send what it may by then.
    for (let i = 0; i < 10; i++) await connection.barrier();
    const heldBytes = sentBytes;
    assert(
      heldBytes <= windowBytes + request.length,
      `${heldBytes} bytes went into a window of ${windowBytes}`,
    );
    assert(heldBytes > 0);
    publisher.answer = undefined;
    publisher.setRoom(true);
    await publisher.batches.take(requestCount);
    await allSent;
    connection.close();
    await publisher.closed;
    await narrow.close();
  });

  it('lets other calls of the same connection through while it waits for room', async () => {
    broker.hasRoom = false;
    const stream = new TestStream(harness.client, publish);
    for (let i = 0; i < 40; i++)
      stream.send({ topic: 't', messages: [{ payload: new Uint8Array(1_000_000) }] });
    const publisher = await broker.publishers.next();
    for (let i = 0; i < 20; i++) {
      const acknowledged = callUnary(harness.client, Broker.method.acknowledge, { sessionId: 's' });
      (await broker.settles.next()).resolve({ settledCount: i, stale: [] });
      assert.equal((await acknowledged).settledCount, BigInt(i));
    }
    assert.equal(publisher.batches.size, 0);
    stream.cancel();
    await publisher.closed;
  });

  it('lets go of a client that vanishes while it waits for room', async () => {
    broker.hasRoom = false;
    const client = new Client(harness.server.address, credentials.createInsecure());
    const stream = new TestStream(client, publish);
    stream.send(one);
    const publisher = await broker.publishers.next();
    client.close();
    stream.cancel();
    await publisher.closed;
  });

  it('is answered when the server drains: what was begun is finished, and the client told', async () => {
    const stream = new TestStream(harness.client, publish);
    stream.send(one);
    const publisher = await broker.publishers.next();
    const [begun] = await publisher.batches.take(1);
    const closing = harness.server.close();
    begun?.done(undefined, receiptOf(begun.batch, 3));
    const status = await stream.status;
    assert.equal(failed(status, 'DRAINING').durableRequestCount, 1n);
    await closing;
  });

  it('is limited in how many streams there may be', async () => {
    const small = await startHarness(broker, { maxStreams: 1 });
    // The limit of a connection would hold the second back: another connection has its own.
    const other = new Client(small.server.address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    const first = new TestStream(small.client, publish);
    first.send(one);
    await broker.publishers.next();
    assert.equal(small.server.streamCount, 1);
    const second = new TestStream(other, publish);
    second.send(one);
    assert.equal(receivedError(await second.status).error.reason, 'TOO_MANY_STREAMS');
    await callUnary(other, Admin.method.getServerInfo, {});
    first.cancel();
    await first.status;
    other.close();
    await small.close();
    assert.equal(small.server.streamCount, 0);
  });
});
