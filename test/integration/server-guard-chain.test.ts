import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { Metadata } from '@grpc/grpc-js';
import { SluiceError } from '../../src/base/errors.js';
import { limits } from '../../src/base/limits.js';
import { silentLogger } from '../../src/base/logger.js';
import { StatusCode } from '../../src/base/reasons.js';
import { secondMs } from '../../src/base/units.js';
import { Admin } from '../../src/gen/sluice/v1/admin_pb.js';
import { Broker } from '../../src/gen/sluice/v1/broker_pb.js';
import { defaultServerOptions, startServer } from '../../src/transport/grpc/server.js';
import { methodPath } from '../../src/transport/grpc/service-definition.js';
import { allow, type Verdict } from '../../src/transport/guards/guard.js';
import { FakeBroker, receiptOf } from '../support/fake-broker.js';
import { frame } from '../support/grpc-framing.js';
import {
  apiOf,
  callUnary,
  failureOf,
  type Harness,
  receivedError,
  startHarness,
  TestStream,
} from '../support/grpc-harness.js';
import { Http2Connection } from '../support/http2-connection.js';
import { type Question, TestGuard, TestRelease } from '../support/test-guard.js';
import { VirtualClock } from '../support/virtual-clock.js';

const { acknowledge, publishStream } = Broker.method;
const { getServerInfo } = Admin.method;
const batch = (batchId: bigint) => ({ batchId, topic: 't', messages: [{ payload: Buffer.from('x') }] });
const refuse: Verdict = { kind: 'refuse', error: new SluiceError('TOO_MANY_CALLS', 'not today') };
const settled = { settledCount: 0, stale: [] };

describe('guards', () => {
  let broker: FakeBroker;
  let harness: Harness;
  let release: TestRelease;

  afterEach(() => harness.close());

  /** A server whose guard gives this verdict on one method, or on its requests, and allows everything else. */
  async function start(
    method: { readonly name: string; readonly parent: { readonly typeName: string } },
    kind: Question['facts']['kind'],
    verdict: (question: Question) => Verdict,
  ): Promise<TestGuard> {
    broker = new FakeBroker();
    release = new TestRelease();
    const path = `/${method.parent.typeName}/${method.name}`;
    const guard = new TestGuard(kind === 'request', (question) =>
      question.method.path === path && question.facts.kind === kind ? verdict(question) : allow,
    );
    harness = await startHarness(broker, {}, silentLogger, [guard]);
    return guard;
  }

  /** The server has handled what was sent to it before. */
  const barrier = () => callUnary(harness.client, getServerInfo, {});

  describe('that refuse', () => {
    it('end a call before its handler sees it', async () => {
      await start(acknowledge, 'call', () => refuse);
      const { error } = await failureOf(callUnary(harness.client, acknowledge, {}));
      assert.deepEqual([error.reason, error.message], ['TOO_MANY_CALLS', 'not today']);
      assert.equal(broker.settles.size, 0);
      await barrier();
    });

    it('end a stream before its handler sees it', async () => {
      await start(publishStream, 'call', () => refuse);
      const stream = new TestStream(harness.client, publishStream);
      stream.send(batch(1n));
      assert.equal(receivedError(await stream.status).error.reason, 'TOO_MANY_CALLS');
      assert.equal(broker.publishers.size, 0);
    });

    it('end a stream at one of its requests, once the requests before it are answered', async () => {
      let count = 0;
      await start(publishStream, 'request', () => (++count < 2 ? allow : refuse));
      const stream = new TestStream(harness.client, publishStream);
      for (const id of [1n, 2n]) stream.send(batch(id));
      const publisher = await broker.publishers.next();
      const first = await publisher.batches.next();
      await barrier();
      first.done(undefined, receiptOf(first.batch, 0));
      assert.equal((await stream.responses.next()).batchId, 1n);
      assert.equal(receivedError(await stream.status).error.reason, 'TOO_MANY_CALLS');
      assert.equal(publisher.batches.size, 0);
    });

    it('end calls of health and reflection, too', async () => {
      const check = { name: 'Check', parent: { typeName: 'grpc.health.v1.Health' } };
      const guard = await start(check, 'call', () => refuse);
      const connection = await Http2Connection.open(harness.server.address);
      const stream = connection.call('/grpc.health.v1.Health/Check');
      stream.end(frame(new Uint8Array(0)));
      const status = new Promise<unknown>((resolve) => {
        stream.on('response', (headers) => resolve(headers['grpc-status']));
      });
      assert.equal(Number(await status), StatusCode.RESOURCE_EXHAUSTED);
      assert.equal((await guard.questions.next()).method.descriptor, undefined);
      connection.close();
    });
  });

  describe('that hold', () => {
    it('let a call go on later', async () => {
      const guard = await start(acknowledge, 'call', () => release.verdict);
      const call = callUnary(harness.client, acknowledge, {});
      await guard.questions.next();
      await barrier();
      assert.deepEqual([broker.settles.size, release.heldCount], [0, 1]);
      release.release();
      (await broker.settles.next()).resolve(settled);
      assert.equal((await call).settledCount, 0n);
    });

    it('let a stream go on later, with every request', async () => {
      const guard = await start(publishStream, 'call', () => release.verdict);
      const stream = new TestStream(harness.client, publishStream);
      for (const id of [1n, 2n]) stream.send(batch(id));
      stream.halfClose();
      await guard.questions.next();
      await barrier();
      assert.equal(broker.publishers.size, 0);
      broker.answer = (published) => receiptOf(published, 0);
      release.release();
      const ids = (await stream.responses.take(2)).map(({ batchId }) => batchId);
      assert.deepEqual(ids, [1n, 2n]);
      assert.equal((await stream.status).code, 0);
    });

    it('hold a stream at a request by not reading it', async () => {
      let count = 0;
      await start(publishStream, 'request', () => (++count === 2 ? { kind: 'hold', until: release } : allow));
      const stream = new TestStream(harness.client, publishStream);
      for (const id of [1n, 2n, 3n]) stream.send(batch(id));
      stream.halfClose();
      const publisher = await broker.publishers.next();
      const first = await publisher.batches.next();
      // An answer on its way does not make the stream read on.
      first.done(undefined, receiptOf(first.batch, 0));
      await stream.responses.next();
      await barrier();
      assert.deepEqual([publisher.batches.size, count], [0, 2]);
      release.release();
      for (const { batch: published, done } of await publisher.batches.take(2)) {
        done(undefined, receiptOf(published, 0));
      }
      const ids = (await stream.responses.take(2)).map(({ batchId }) => batchId);
      assert.deepEqual(ids, [2n, 3n]);
      assert.equal((await stream.status).code, 0);
    });

    it('hold a unary call at its request', async () => {
      const guard = await start(acknowledge, 'request', () => release.verdict);
      const call = callUnary(harness.client, acknowledge, {});
      await guard.questions.next();
      const { facts } = await guard.questions.next();
      assert.equal(facts.kind, 'request');
      await barrier();
      assert.equal(broker.settles.size, 0);
      release.release();
      (await broker.settles.next()).resolve(settled);
      await call;
    });

    it('tell a client of health nothing of their defects', async () => {
      const check = { name: 'Check', parent: { typeName: 'grpc.health.v1.Health' } };
      await start(check, 'call', () => {
        throw new Error('secret');
      });
      const connection = await Http2Connection.open(harness.server.address);
      const stream = connection.call('/grpc.health.v1.Health/Check');
      const [headers] = await once(stream.resume(), 'response');
      assert.doesNotMatch(String(headers['grpc-message']), /secret/);
      assert.match(String(headers['grpc-message']), /the%20log%20of%20the%20broker/);
      connection.close();
    });

    it('hold calls of health and reflection, too', async () => {
      const check = { name: 'Check', parent: { typeName: 'grpc.health.v1.Health' } };
      const guard = await start(check, 'call', () => release.verdict);
      const connection = await Http2Connection.open(harness.server.address);
      const stream = connection.call('/grpc.health.v1.Health/Check');
      stream.end(frame(new Uint8Array(0)));
      await guard.questions.next();
      const cancelled = connection.call('/grpc.health.v1.Health/Check');
      cancelled.on('error', () => {});
      await guard.questions.next();
      cancelled.destroy();
      await release.forgotten.next();
      assert.equal(release.heldCount, 1);
      const answered = new Promise<void>((resolve) => stream.on('data', () => resolve()));
      release.release();
      await answered;
      connection.close();
    });

    for (const kind of ['call', 'request'] as const) {
      it(`keep nothing of a ${kind} that is cancelled meanwhile`, async () => {
        await start(publishStream, kind, () => release.verdict);
        const stream = new TestStream(harness.client, publishStream);
        stream.send(batch(1n));
        while (release.heldCount === 0) await barrier();
        assert.equal(harness.server.streamCount, 1);
        stream.cancel();
        await release.forgotten.next();
        await stream.status;
        assert.deepEqual([release.heldCount, harness.server.streamCount], [0, 0]);
        release.release();
        await barrier();
        if (kind === 'call') assert.equal(broker.publishers.size, 0);
        else {
          const publisher = await broker.publishers.next();
          await publisher.closed;
          assert.equal(publisher.batches.size, 0);
        }
      });

      it(`end a ${kind} that they hold when the server drains`, async () => {
        await start(acknowledge, kind, () => release.verdict);
        const failure = failureOf(callUnary(harness.client, acknowledge, {}));
        while (release.heldCount === 0) await barrier();
        await harness.server.close();
        assert.equal((await failure).error.reason, 'DRAINING');
        assert.equal(release.heldCount, 0);
        assert.equal(broker.settles.size, 0);
        assert.equal(harness.server.calls.requestBytes, 0);
      });
    }

    it('keep nothing of a call whose deadline passes, or whose connection is lost', async () => {
      await start(acknowledge, 'call', () => release.verdict);
      const connection = await Http2Connection.open(harness.server.address);
      connection.session.on('error', () => {});
      const path = methodPath(acknowledge);
      const late = connection.session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
        'grpc-timeout': '1m',
      });
      const status = new Promise<number>((resolve) => {
        late.on('response', (headers) => resolve(Number(headers['grpc-status'])));
      });
      late.on('error', () => {});
      assert.equal(await status, StatusCode.DEADLINE_EXCEEDED);
      await release.forgotten.next();
      connection.call(path).on('error', () => {});
      while (release.heldCount === 0) await barrier();
      connection.close();
      await release.forgotten.next();
      assert.deepEqual([release.heldCount, broker.settles.size], [0, 0]);
    });

    it('end a stream that they hold when the server drains', async () => {
      await start(publishStream, 'request', () => release.verdict);
      const stream = new TestStream(harness.client, publishStream);
      stream.send(batch(1n));
      while (release.heldCount === 0) await barrier();
      await harness.server.close();
      assert.equal(receivedError(await stream.status).error.reason, 'DRAINING');
      assert.equal(release.heldCount, 0);
    });
  });
});

describe('the time limit for the request of a call', () => {
  it('begins when the guards allow the call', async () => {
    const clock = new VirtualClock();
    const broker = new FakeBroker();
    const release = new TestRelease();
    const guard = new TestGuard(false, () => release.verdict);
    const options = { ...defaultServerOptions, listen: '127.0.0.1:0' };
    const services = { clock, guards: [guard], logger: silentLogger };
    const server = await startServer(apiOf(broker), options, services);
    const connection = await Http2Connection.open(server.address);
    connection.session.on('error', () => {});
    const pass = async (ms: number) => {
      for (let passedMs = 0; passedMs < ms; passedMs += secondMs) {
        clock.advance(secondMs);
        await setImmediate();
      }
    };
    const stream = connection.call(methodPath(getServerInfo));
    const status = new Promise<number>((resolve) => {
      stream.on('response', (headers) => resolve(Number(headers['grpc-status'])));
    });
    stream.on('error', () => {});
    await guard.questions.next();
    await pass(2 * limits.requestTimeoutMs);
    assert.equal(server.calls.refusals.get('REQUEST_TIMEOUT'), undefined);
    release.release();
    await pass(limits.requestTimeoutMs / 2);
    assert.equal(server.calls.refusals.get('REQUEST_TIMEOUT'), undefined);
    await pass(limits.requestTimeoutMs);
    assert.equal(await status, StatusCode.DEADLINE_EXCEEDED);
    assert.equal(server.calls.refusals.get('REQUEST_TIMEOUT'), 1);
    connection.close();
    await setImmediate();
    await server.close();
  });
});

describe('the context of a call', () => {
  it('has peer, deadline and trace, and is the same for guards and broker', async () => {
    const broker = new FakeBroker();
    const guard = new TestGuard(false, () => allow);
    const harness = await startHarness(broker, {}, silentLogger, [guard]);
    const metadata = new Metadata();
    const [traceId, parentId] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7'];
    metadata.set('traceparent', `00-${traceId}-${parentId}-01`);
    const deadlineAtMs = Date.now() + 3_600_000;
    const identity = (bytes: Buffer) => bytes;
    const path = methodPath(publishStream);
    const call = harness.client.makeBidiStreamRequest(path, identity, identity, metadata, {
      deadline: deadlineAtMs,
    });
    call.on('error', () => {});
    const { context } = await guard.questions.next();
    assert.match(context.peer, /^127\.0\.0\.1:\d+$/);
    assert.deepEqual(context.principal, { name: 'anonymous' });
    assert.deepEqual(context.trace, { traceId, parentId, isSampled: true });
    assert.ok(Math.abs(context.deadlineAtMs! - deadlineAtMs) < 60_000, `${context.deadlineAtMs}`);
    await broker.publishers.next();
    assert.deepEqual(broker.publisherContexts, [context]);
    assert.equal(broker.publisherContexts[0], context);
    call.cancel();
    await harness.close();
  });
});
