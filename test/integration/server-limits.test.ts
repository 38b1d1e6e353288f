import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Stream, constants } from 'node:http2';
import { setImmediate } from 'node:timers/promises';
import { limits } from '../../src/base/limits.js';
import { silentLogger } from '../../src/base/logger.js';
import { StatusCode } from '../../src/base/reasons.js';
import { secondMs } from '../../src/base/units.js';
import { Admin } from '../../src/gen/sluice/v1/admin_pb.js';
import { Broker, SubscribeRequestSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import { defaultServerOptions, startServer } from '../../src/transport/grpc/server.js';
import { methodPath } from '../../src/transport/grpc/service-definition.js';
import { FakeBroker } from '../support/fake-broker.js';
import { frame } from '../support/grpc-framing.js';
import {
  apiOf,
  callUnary,
  failureOf,
  receivedError,
  startHarness,
  TestStream,
} from '../support/grpc-harness.js';
import { Http2Connection } from '../support/http2-connection.js';
import { encode, RawConnection, RawGrpcError } from '../support/raw-grpc.js';
import { RawHttp2 } from '../support/raw-http2.js';
import { VirtualClock } from '../support/virtual-clock.js';

describe('the server, to a client that asks for too much', () => {
  it('refuses calls that are no streams, above their number', async () => {
    const broker = new FakeBroker();
    const { server, client, close } = await startHarness(broker, { maxCalls: 1 });
    // The last ones are kept for clients with few calls: twice the number is where it ends.
    const open = [1, 2].map(() => callUnary(client, Broker.method.acknowledge, {}));
    const settles = [await broker.settles.next(), await broker.settles.next()];
    const { error } = await failureOf(callUnary(client, Admin.method.getServerInfo, {}));
    assert.equal(error.reason, 'TOO_MANY_CALLS');
    assert.ok(error.details.retryAfterMs! > 0);
    assert.equal(server.calls.callCount, 2);
    assert.equal(server.calls.refusals.get('TOO_MANY_CALLS'), 1);
    for (const settle of settles) settle.resolve({ settledCount: 0, stale: [] });
    await Promise.all(open);
    await callUnary(client, Admin.method.getServerInfo, {});
    await close();
  });

  it('closes refused health calls, although the client leaves its half open', async () => {
    const { server, close } = await startHarness(new FakeBroker(), { maxCalls: 0 });
    const connection = await Http2Connection.open(server.address);
    const stream = connection.call('/grpc.health.v1.Health/Watch');
    const closed = once(stream, 'close');
    const [headers] = await once(stream.resume(), 'response');
    assert.equal(Number(headers['grpc-status']), StatusCode.RESOURCE_EXHAUSTED);
    await closed;
    connection.close();
    await close();
  });

  it('closes answered streams after a time, although their clients leave their halves open', async () => {
    const clock = new VirtualClock();
    const server = await startServer(
      apiOf(new FakeBroker()),
      { ...defaultServerOptions, listen: '127.0.0.1:0' },
      { clock, guards: [], logger: silentLogger },
    );
    const connection = await Http2Connection.open(server.address);
    for (const method of [Broker.method.publish, Broker.method.publishStream, Broker.method.consume]) {
      const stream = connection.call(methodPath(method));
      const ended = Promise.race([once(stream, 'trailers'), once(stream, 'response')]);
      const over = once(stream.resume(), 'end');
      const closed = once(stream, 'close');
      // No message of any type.
      stream.write(frame(Uint8Array.of(0xff)));
      await ended;
      await over;
      await connection.barrier();
      clock.advance(limits.halfOpenMs - 1);
      await connection.barrier();
      assert.equal(stream.closed, false, method.name);
      clock.advance(2 * secondMs);
      await closed;
      assert.equal(stream.rstCode, constants.NGHTTP2_NO_ERROR);
    }
    connection.close();
    const closing = server.close();
    clock.advance(defaultServerOptions.drainGraceMs);
    await closing;
  });

  it('refuses streams that are opened too fast', async () => {
    const broker = new FakeBroker();
    const { client, close } = await startHarness(broker, { maxOpensPerSecond: 1 });
    const most = limits.opensBurstSeconds + 2 * limits.freeOpensPerSecond;
    const streams = Array.from({ length: most + 10 }, () => {
      const stream = new TestStream(client, Broker.method.subscribe);
      stream.send({ topic: 't', subscription: 's' });
      stream.halfClose();
      return stream;
    });
    const { error } = receivedError(await Promise.race(streams.map(({ status }) => status)));
    assert.equal(error.reason, 'TOO_MANY_OPENS');
    assert.ok(error.details.retryAfterMs! > 0);
    for (const stream of streams) stream.cancel();
    await close();
  });

  it('refuses the calls of connections above their number', async () => {
    const { server, client, close } = await startHarness(new FakeBroker(), { maxConnectionsPerPeer: 1 });
    await callUnary(client, Admin.method.getServerInfo, {});
    const surplus = await RawConnection.connect(server.address);
    await assert.rejects(
      surplus.unary(Admin.method.getServerInfo, {}),
      (error) => error instanceof RawGrpcError && error.status.reason === 'TOO_MANY_CONNECTIONS',
    );
    await callUnary(client, Admin.method.getServerInfo, {});
    surplus.destroy();
    await close();
  });

  it('gives up a call whose request does not come, and no stream that sends when it likes', async () => {
    const clock = new VirtualClock();
    const options = { ...defaultServerOptions, listen: '127.0.0.1:0' };
    const server = await startServer(apiOf(new FakeBroker()), options, {
      clock,
      guards: [],
      logger: silentLogger,
    });
    const connection = await Http2Connection.open(server.address);
    const pass = async (untilMs: number) => {
      for (let ms = 0; ms <= untilMs; ms += secondMs) {
        clock.advance(secondMs);
        await setImmediate();
      }
    };
    const statusOf = async (stream: ClientHttp2Stream) => {
      stream.on('error', () => {});
      const [headers] = await once(stream, 'response');
      return Number(headers['grpc-status']);
    };
    connection.session.on('error', () => {});
    const silent = ['Admin/GetServerInfo', 'Broker/Subscribe'].map((method) =>
      statusOf(connection.call(`/sluice.v1.${method}`)),
    );
    const publishing = connection.call('/sluice.v1.Broker/Publish');
    publishing.on('response', () => assert.fail('a producer that is idle was given up'));
    await connection.barrier();
    await pass(limits.requestTimeoutMs);
    assert.deepEqual(await Promise.all(silent), [StatusCode.DEADLINE_EXCEEDED, StatusCode.DEADLINE_EXCEEDED]);
    await connection.barrier();
    assert.equal(server.calls.refusals.get('REQUEST_TIMEOUT'), 2);
    assert.equal(server.calls.callCount, 0);
    publishing.removeAllListeners('response').on('error', () => {});
    connection.close();
    await setImmediate();
    await server.close();
  });

  it('opens no session for a stream that is reset at once', async () => {
    const broker = new FakeBroker();
    const { server, close } = await startHarness(broker);
    const connection = (await RawHttp2.open(server.address)).drain();
    const path = '/sluice.v1.Broker/Subscribe';
    const body = (subscription: string) => encode(SubscribeRequestSchema, { topic: 't', subscription });
    await connection.send({ path, body: body('reset'), isReset: true }, 50);
    await connection.send({ path, body: body('kept') }, 1);
    const session = await broker.sessions.next();
    assert.equal(session.options.subscription, 'kept');
    connection.destroy();
    await session.closed;
    assert.equal(broker.sessions.size, 0);
    await close();
  });

  it('refuses headers above their limit, to clients that take no notice of the settings as well', async () => {
    const { server, close } = await startHarness(new FakeBroker());
    const connection = await RawHttp2.open(server.address);
    const headers = { 'x-large': 'x'.repeat(limits.headerListBytes) };
    connection.drain();
    await connection.send({ path: '/sluice.v1.Admin/GetServerInfo', headers }, 2 * limits.brokenOpensBurst);
    if (!connection.isClosed) await once(connection.socket, 'close');
    assert.equal(server.calls.callCount, 0);
    assert.equal(server.calls.cutConnectionCount, 1);
    await close();
  });
});
