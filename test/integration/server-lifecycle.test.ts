import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { Client, credentials } from '@grpc/grpc-js';
import { service as healthService } from 'grpc-health-check';
import { systemClock } from '../../src/base/clock.js';
import { limits } from '../../src/base/limits.js';
import { silentLogger } from '../../src/base/logger.js';
import { KiB } from '../../src/base/units.js';
import { Admin } from '../../src/gen/sluice/v1/admin_pb.js';
import { Broker, PublishStreamRequestSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import { defaultServerOptions, startServer } from '../../src/transport/grpc/server.js';
import { FakeBroker, receiptOf } from '../support/fake-broker.js';
import { frame } from '../support/grpc-framing.js';
import { apiOf, callUnary, startHarness } from '../support/grpc-harness.js';
import { Http2Connection } from '../support/http2-connection.js';
import { Inbox } from '../support/inbox.js';

interface HealthStatus {
  readonly status: string;
}

/** Watches health with the standard client stubs. */
function watchHealth(client: Client, service: string) {
  const statuses = new Inbox<string>();
  const { path, requestSerialize, responseDeserialize } = healthService.Watch!;
  const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, { service });
  const ended = new Promise<void>((resolve) => call.on('error', () => resolve()));
  call.on('data', ({ status }: HealthStatus) => statuses.push(status));
  return { statuses, ended };
}

describe('the server', () => {
  it('is healthy when it is told to be, as a whole and for each service', async () => {
    const { server, client, close } = await startHarness(new FakeBroker());
    for (const name of ['', 'sluice.v1.Broker', 'sluice.v1.Admin']) {
      const { statuses } = watchHealth(client, name);
      assert.equal(await statuses.next(), 'NOT_SERVING');
      server.setServing(true);
      assert.equal(await statuses.next(), 'SERVING');
      server.setServing(false);
    }
    await close();
  });

  it('ends all that watch it when it closes, and says first that it does', async () => {
    const { server, client } = await startHarness(new FakeBroker(), { drainGraceMs: 60_000 });
    server.setServing(true);
    const { statuses, ended } = watchHealth(client, '');
    assert.equal(await statuses.next(), 'SERVING');
    const closed = server.close();
    assert.equal(await statuses.next(), 'NOT_SERVING');
    await ended;
    await closed;
    assert.equal(server.close(), server.close());
    client.close();
  });

  it('cuts off what does not end within the grace', async () => {
    let forceNow: () => void = () => {};
    let begin: () => void = () => {};
    const graceBegan = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const clock = {
      ...systemClock,
      after: (delayMs: number, wake: () => void) => {
        if (delayMs !== limits.drainGraceMs) return { cancel: () => {} };
        forceNow = wake;
        begin();
        return { cancel: () => {} };
      },
    };
    const broker = new FakeBroker();
    const options = { ...defaultServerOptions, listen: '127.0.0.1:0' };
    const server = await startServer(apiOf(broker), options, { clock, guards: [], logger: silentLogger });
    const client = new Client(server.address, credentials.createInsecure());
    const stuck = callUnary(client, Broker.method.acknowledge, {}).then(
      () => assert.fail('it was answered'),
      () => 'cut off',
    );
    await broker.settles.next();
    const closed = server.close();
    await graceBegan;
    forceNow();
    await closed;
    assert.equal(await stuck, 'cut off');
    client.close();
  });

  it('listens on a socket in the file system', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'sluice-'));
    const listen = `unix:${join(directory, 's.sock')}`;
    const { server, client, close } = await startHarness(new FakeBroker(), { listen });
    assert.deepEqual([server.address, server.port], [listen, 0]);
    await callUnary(client, Admin.method.getServerInfo, {});
    await close();
    rmSync(directory, { recursive: true });
  });

  it('listens on IPv6', async function () {
    const started = await startHarness(new FakeBroker(), { listen: '[::1]:0' }).catch(() => undefined);
    if (started === undefined) this.skip();
    assert.match(started.server.address, /^\[::1\]:\d+$/);
    await callUnary(started.client, Admin.method.getServerInfo, {});
    await started.close();
  });

  it('refuses to start where it can not listen', async () => {
    const { server, close } = await startHarness(new FakeBroker());
    await assert.rejects(startHarness(new FakeBroker(), { listen: server.address }), {
      reason: 'INVALID_SETTING',
      message: /can't listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/,
    });
    await close();
  });

  it('opens the windows that it was told to, as they are used: this is no public option of grpc-js', async () => {
    const streamWindowBytes = 777_777;
    const connectionWindowBytes = 3_333_333;
    const broker = new FakeBroker();
    broker.answer = (batch) => receiptOf(batch, 0);
    const { server, close } = await startHarness(broker, {
      streamWindowBytes,
      connectionWindowBytes,
    });
    const connection = await Http2Connection.open(server.address);
    await connection.barrier();
    const windowBytes = () => connection.session.remoteSettings.initialWindowSize;
    assert.equal(windowBytes(), limits.initialWindowBytes);
    assert.equal(connection.session.state.remoteWindowSize, connectionWindowBytes);
    const stream = connection.call('/sluice.v1.Broker/PublishStream');
    stream.resume();
    const request = toBinary(
      PublishStreamRequestSchema,
      create(PublishStreamRequestSchema, { topic: 't', messages: [{ payload: Buffer.alloc(32 * KiB) }] }),
    );
    while (windowBytes() !== streamWindowBytes) {
      await new Promise((resolve) => stream.write(frame(request), resolve));
      await connection.barrier();
    }
    connection.close();
    await close();
  });
});
