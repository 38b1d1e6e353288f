import assert from 'node:assert/strict';
import { create, toBinary } from '@bufbuild/protobuf';
import { Client, credentials } from '@grpc/grpc-js';
import { SluiceError } from '../../src/base/errors.js';
import { limits } from '../../src/base/limits.js';
import type { DeliveredRun } from '../../src/broker/types.js';
import { Admin } from '../../src/gen/sluice/v1/admin_pb.js';
import { Broker, PublishRequestSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import { FakeBroker } from '../support/fake-broker.js';
import {
  callUnary,
  failureOf,
  type Harness,
  receivedError,
  startHarness,
  TestStream,
} from '../support/grpc-harness.js';

const { subscribe, consume, read } = Broker.method;
const names = { topic: 't', subscription: 's', consumerId: 'worker' };

/** One message of so many bytes, all the same. */
function delivery(firstOffset: number, byte: number, byteLength = 3): DeliveredRun {
  const payload = new Uint8Array(byteLength).fill(byte);
  const messages = toBinary(PublishRequestSchema, create(PublishRequestSchema, { messages: [{ payload }] }));
  const ends = Uint32Array.of(messages.length);
  const run = {
    partition: 0,
    firstOffset,
    count: 1,
    publishTimeMs: 1000,
    producerId: '',
    targetSubscriptionId: 0,
    messages,
    ends,
  };
  return { run, from: 0, to: 1, attempt: 1, deliveryId: 1 };
}

/** Several round trips on the connection: what can happen without the test has happened. */
async function settleDown(client: Client): Promise<void> {
  for (let i = 0; i < 5; i++) await callUnary(client, Admin.method.getServerInfo, {});
}

describe('consumer streams', () => {
  let broker: FakeBroker;
  let harness: Harness;

  beforeEach(async () => {
    broker = new FakeBroker();
    harness = await startHarness(broker);
  });
  afterEach(() => harness.close());

  describe('Subscribe', () => {
    it('announces its session first, then delivers what it is given', async () => {
      const stream = new TestStream(harness.client, subscribe);
      stream.send({ ...names, flowControl: { maxOutstandingMessages: 5 } });
      stream.halfClose();
      const session = await broker.sessions.next();
      const { context, ...options } = session.options;
      assert.match(context.peer, /^127\.0\.0\.1:\d+$/);
      assert.deepEqual(options, { ...names, credit: { messages: 5 }, start: { kind: 'earliest' } });
      await session.started;
      // The frames are made in one buffer: each must have left it before the next is made.
      const written = [1, 2, 3].map(
        (i) => new Promise<void>((resolve) => session.sink.deliver([delivery(i, i)], resolve)),
      );
      session.sink.assigned([0, 2]);
      session.sink.heartbeat(2500, 9);
      const responses = await stream.responses.take(6);
      assert.equal(responses[0]?.opened?.sessionId, session.sessionId);
      assert.equal(responses[0]?.opened?.ackDeadline?.seconds, 30n);
      assert.equal(responses[0]?.opened?.flowControl?.maxOutstandingMessages, 1000);
      for (const i of [1, 2, 3]) {
        const [run] = responses[i]?.runs ?? [];
        assert.equal(run?.firstOffset, BigInt(i));
        assert.deepEqual([...(run?.messages[0]?.payload ?? [])], [i, i, i]);
      }
      assert.deepEqual(responses[4]?.assignment?.partitions, [0, 2]);
      assert.equal(responses[5]?.heartbeat?.backlogMessageCount, 9n);
      await Promise.all(written);
      stream.cancel();
      await session.closed;
    });

    it('says that bytes have left only when they have', async () => {
      const stream = new TestStream(harness.client, subscribe);
      stream.send(names);
      stream.halfClose();
      const session = await broker.sessions.next();
      await stream.responses.next();
      stream.pause();
      const frameCount = 60;
      let writtenCount = 0;
      const all = new Promise<void>((resolve) => {
        for (let i = 0; i < frameCount; i++) {
          session.sink.deliver([delivery(i, 1, 256 * 1024)], () => {
            writtenCount++;
            if (writtenCount === frameCount) resolve();
          });
        }
      });
      await settleDown(harness.client);
      assert(writtenCount < frameCount / 2, `${writtenCount} frames left for a client that reads none`);
      stream.resume();
      await stream.responses.take(frameCount);
      await all;
      stream.cancel();
      await session.closed;
    });

    it('lets heartbeats wait rather than pile up for a consumer that does not read', async () => {
      const stream = new TestStream(harness.client, subscribe);
      stream.send(names);
      stream.halfClose();
      const session = await broker.sessions.next();
      await stream.responses.next();
      stream.pause();
      for (let i = 0; i < 100; i++) session.sink.deliver([delivery(i, 1, 256 * 1024)], () => {});
      for (let i = 0; i < 50; i++) session.sink.heartbeat(1000, i);
      stream.resume();
      const responses = await stream.responses.take(101);
      assert.equal(responses[100]?.heartbeat?.backlogMessageCount, 0n);
      await settleDown(harness.client);
      assert.equal(stream.responses.size, 0);
      session.sink.heartbeat(1000, 77);
      assert.equal((await stream.responses.next()).heartbeat?.backlogMessageCount, 77n);
      stream.cancel();
    });

    it('ends as the broker ends it', async () => {
      const stream = new TestStream(harness.client, subscribe);
      stream.send(names);
      stream.halfClose();
      const session = await broker.sessions.next();
      await session.started;
      session.sink.ended(new SluiceError('SUBSCRIPTION_DELETED', 'it was deleted'));
      assert.equal(receivedError(await stream.status).error.reason, 'SUBSCRIPTION_DELETED');
    });

    it('closes a session that opens after its client has left', async () => {
      let open: () => void = () => {};
      broker.subscribeGate = new Promise((resolve) => {
        open = resolve;
      });
      const client = new Client(harness.server.address, credentials.createInsecure());
      const stream = new TestStream(client, subscribe);
      stream.send(names);
      stream.halfClose();
      await settleDown(client);
      stream.cancel();
      await stream.status;
      await settleDown(client);
      client.close();
      open();
      await (await broker.sessions.next()).closed;
    });

    it('is refused without a session', async () => {
      for (const [request, reason] of [
        [{ ...names, topic: 'missing' }, 'TOPIC_NOT_FOUND'],
        [{ ...names, subscription: '' }, 'INVALID_NAME'],
      ] as const) {
        const stream = new TestStream(harness.client, subscribe);
        stream.send(request);
        stream.halfClose();
        assert.equal(receivedError(await stream.status).error.reason, reason);
      }
    });

    it('takes exactly one request', async () => {
      const twice = new TestStream(harness.client, subscribe);
      twice.send(names);
      twice.send(names);
      assert.equal(receivedError(await twice.status).error.reason, 'MALFORMED_REQUEST');
      const never = new TestStream(harness.client, subscribe);
      never.halfClose();
      assert.equal(receivedError(await never.status).error.reason, 'MALFORMED_REQUEST');
    });

    it('is told when the server drains, and its session is free', async () => {
      const stream = new TestStream(harness.client, subscribe);
      stream.send(names);
      stream.halfClose();
      const session = await broker.sessions.next();
      await stream.responses.next();
      const closing = harness.server.close();
      const { error } = receivedError(await stream.status);
      assert.equal(error.reason, 'DRAINING');
      assert(error.details.retryAfterMs !== undefined);
      await session.closed;
      await closing;
    });
  });

  describe('Consume', () => {
    const offsets = { partition: 1, firstOffset: 2n, lastOffset: 3n };
    const ack = { offsets, outcome: { case: 'ack', value: {} } } as const;

    it('settles and changes credit on the same stream', async () => {
      const stream = new TestStream(harness.client, consume);
      stream.send({ subscribe: names });
      const session = await broker.sessions.next();
      assert.equal((await stream.responses.next()).opened?.sessionId, session.sessionId);
      stream.send({
        settlements: [ack],
        settlementId: 2n ** 64n - 1n,
        flowControl: { maxOutstandingBytes: 7n },
      });
      const settle = await broker.settles.next();
      assert.deepEqual(settle.settlements, [{ partition: 1, first: 2, last: 3, outcome: { kind: 'ack' } }]);
      assert.deepEqual(broker.credits, [{ bytes: 7 }]);
      settle.resolve({ settledCount: 1, stale: [{ partition: 1, first: 3, last: 3 }] });
      const { settled } = await stream.responses.next();
      assert.equal(settled?.settlementId, 2n ** 64n - 1n);
      assert.equal(settled?.result?.settledCount, 1n);
      assert.equal(settled?.result?.stale[0]?.firstOffset, 3n);
      session.sink.deliver([delivery(8, 8)], () => {});
      assert.equal((await stream.responses.next()).runs[0]?.firstOffset, 8n);
      stream.cancel();
      await session.closed;
    });

    it('answers the last settlements of a client that leaves, then ends well', async () => {
      const stream = new TestStream(harness.client, consume);
      stream.send({ subscribe: names });
      stream.send({ settlements: [ack], settlementId: 5n });
      stream.halfClose();
      const session = await broker.sessions.next();
      const settle = await broker.settles.next();
      await settleDown(harness.client);
      settle.resolve({ settledCount: 2, stale: [] });
      const [, last] = await stream.responses.take(2);
      assert.equal(last?.settled?.settlementId, 5n);
      assert.equal((await stream.status).code, 0);
      await session.closed;
    });

    it('answers the settlements under way when the server drains, then ends', async () => {
      const stream = new TestStream(harness.client, consume);
      stream.send({ subscribe: names });
      const session = await broker.sessions.next();
      for (const settlementId of [5n, 6n]) stream.send({ settlements: [ack], settlementId });
      const settles = await broker.settles.take(2);
      const closing = harness.server.close();
      await session.closed;
      for (const { resolve } of settles) resolve({ settledCount: 2, stale: [] });
      const [, ...answers] = await stream.responses.take(3);
      assert.deepEqual(
        answers.map(({ settled }) => settled?.settlementId),
        [5n, 6n],
      );
      assert.equal(receivedError(await stream.status).error.reason, 'DRAINING');
      await closing;
    });

    it('answers the settlements under way when the broker ends the session', async () => {
      const stream = new TestStream(harness.client, consume);
      stream.send({ subscribe: names });
      const session = await broker.sessions.next();
      stream.send({ settlements: [ack], settlementId: 5n });
      const settle = await broker.settles.next();
      session.sink.ended(new SluiceError('SUBSCRIPTION_DELETED', 'it was deleted'));
      settle.resolve({ settledCount: 2, stale: [] });
      const [, answer] = await stream.responses.take(2);
      assert.equal(answer?.settled?.settlementId, 5n);
      assert.equal(receivedError(await stream.status).error.reason, 'SUBSCRIPTION_DELETED');
    });

    it('ends when the time of draining is over, even if a settlement has no answer', async () => {
      const { client, server } = await startHarness(broker, { drainGraceMs: 1 });
      const stream = new TestStream(client, consume);
      stream.send({ subscribe: names });
      stream.send({ settlements: [ack] });
      const settle = await broker.settles.next();
      await server.close();
      await stream.status;
      settle.resolve({ settledCount: 2, stale: [] });
      client.close();
    });

    it('ends, and frees its session, at a request that makes no sense', async () => {
      const requests = [{ subscribe: names }, { settlements: [{ offsets }] }];
      for (const [request, field] of [
        [requests[0], 'subscribe'],
        [requests[1], 'settlements[0].outcome'],
      ] as const) {
        const stream = new TestStream(harness.client, consume);
        stream.send({ subscribe: names });
        const session = await broker.sessions.next();
        stream.send(request ?? {});
        assert.equal(receivedError(await stream.status).error.details.field, field);
        await session.closed;
      }
    });

    it('reads no more than so many settlements ahead of their answers', async () => {
      const stream = new TestStream(harness.client, consume);
      stream.send({ subscribe: names });
      for (let i = 0; i < limits.settlementRequestsPerStream + 3; i++) stream.send({ settlements: [ack] });
      const session = await broker.sessions.next();
      const settles = await broker.settles.take(limits.settlementRequestsPerStream);
      await settleDown(harness.client);
      assert.equal(broker.settles.size, 0);
      for (const { resolve } of settles) resolve({ settledCount: 1, stale: [] });
      await broker.settles.take(3);
      stream.cancel();
      await session.closed;
    });

    it('begins with a subscription', async () => {
      const stream = new TestStream(harness.client, consume);
      stream.send({ settlements: [ack] });
      assert.equal(receivedError(await stream.status).error.details.field, 'subscribe');
      const empty = new TestStream(harness.client, consume);
      empty.halfClose();
      assert.equal(receivedError(await empty.status).error.details.field, 'subscribe');
    });

    it('passes on what the broker says to a settlement', async () => {
      const stream = new TestStream(harness.client, consume);
      stream.send({ subscribe: names, settlements: [ack] });
      const session = await broker.sessions.next();
      (await broker.settles.next()).reject(new SluiceError('STORAGE_FAILED', 'the disk is gone'));
      assert.equal(receivedError(await stream.status).error.reason, 'STORAGE_FAILED');
      await session.closed;
    });
  });

  describe('Read', () => {
    it('ends well at the end of what was asked for', async () => {
      const stream = new TestStream(harness.client, read);
      stream.send({
        topic: 't',
        partition: 0,
        limit: 4n,
        start: { position: { case: 'offset', value: 6n } },
      });
      stream.halfClose();
      const { options, sink } = await broker.reads.next();
      const start = { kind: 'offset', offset: 6 };
      assert.deepEqual(options, { topic: 't', partition: 0, start, limit: 4, isFollowing: false });
      sink.deliver([{ ...delivery(6, 6), attempt: 0, deliveryId: 0 }], () => {});
      sink.ended(undefined);
      assert.equal((await stream.responses.next()).runs[0]?.attempt, 0);
      assert.equal((await stream.status).code, 0);
    });

    it('is told of damage', async () => {
      const stream = new TestStream(harness.client, read);
      stream.send({ topic: 't' });
      stream.halfClose();
      const { sink } = await broker.reads.next();
      sink.ended(new SluiceError('DATA_LOSS', 'offsets 3 to 4 of partition 0 are damaged'));
      assert.equal(receivedError(await stream.status).error.reason, 'DATA_LOSS');
    });

    it('stops when its client leaves', async () => {
      const stream = new TestStream(harness.client, read);
      stream.send({ topic: 't', follow: true });
      stream.halfClose();
      const { options, closed } = await broker.reads.next();
      assert.equal(options.isFollowing, true);
      await stream.headers;
      stream.cancel();
      await closed;
    });
  });

  describe('unary calls beside them', () => {
    it('Acknowledge, UpdateFlowControl, GetProducer', async () => {
      const { acknowledge, updateFlowControl, getProducer } = Broker.method;
      const acknowledged = callUnary(harness.client, acknowledge, { sessionId: 'session-9' });
      const settle = await broker.settles.next();
      assert.equal(settle.sessionId, 'session-9');
      settle.reject(new SluiceError('SESSION_NOT_FOUND', 'it ended'));
      assert.equal((await failureOf(acknowledged)).error.reason, 'SESSION_NOT_FOUND');
      const flowControl = { maxOutstandingMessages: 3 };
      const updated = await callUnary(harness.client, updateFlowControl, { sessionId: 'x', flowControl });
      assert.equal(updated.flowControl?.maxOutstandingMessages, 3);
      assert.equal(updated.flowControl?.maxOutstandingBytes, 20n);
      const producer = await callUnary(harness.client, getProducer, { topic: 't', producerId: 'known' });
      assert.deepEqual([producer.epoch, producer.lastSequence], [3n, 42n]);
      const unknown = callUnary(harness.client, getProducer, { topic: 't', producerId: 'unknown' });
      assert.equal((await failureOf(unknown)).error.reason, 'PRODUCER_NOT_FOUND');
    });
  });
});
