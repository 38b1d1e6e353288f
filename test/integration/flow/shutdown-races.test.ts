import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants } from 'node:http2';
import { setImmediate } from 'node:timers/promises';
import { systemClock } from '../../../src/base/clock.js';
import { limits } from '../../../src/base/limits.js';
import { SubscribeRequestSchema } from '../../../src/gen/sluice/v1/broker_pb.js';
import { BrokerProcess, showLogOnFailure } from '../../support/broker-process.js';
import { FakeBroker } from '../../support/fake-broker.js';
import { startHarness } from '../../support/grpc-harness.js';
import { Http2Connection } from '../../support/http2-connection.js';
import { encode } from '../../support/raw-grpc.js';

/** Consumers, each on a connection of its own; resolves when all of their sessions are open. */
async function openConsumers(address: string, count: number): Promise<Http2Connection[]> {
  const connections = await Promise.all(Array.from({ length: count }, () => Http2Connection.open(address)));
  const request = encode(SubscribeRequestSchema, { topic: 't', subscription: 's' });
  for (const connection of connections) {
    const stream = connection.call('/sluice.v1.Broker/Subscribe').on('error', () => {});
    stream.end(request);
    await once(stream, 'data');
  }
  return connections;
}

/** Closes a server so many turns of the event loop after each of its connections has left. */
async function closeServerWhile(leave: (connection: Http2Connection) => void, turns: number): Promise<void> {
  const { server, client } = await startHarness(new FakeBroker(), { drainGraceMs: 2_000 });
  const connections = await Promise.all(
    Array.from({ length: 8 }, () => Http2Connection.open(server.address)),
  );
  for (const connection of connections) {
    const call = connection.call('/sluice.v1.Broker/Subscribe').on('error', () => {});
    call.resume();
    await connection.barrier();
  }
  for (const connection of connections) leave(connection);
  for (let turn = 0; turn < turns; turn++) await setImmediate();
  await server.close();
  for (const connection of connections) connection.close();
  client.close();
}

describe('a broker that is asked to end as connections close', function () {
  this.timeout(300_000);

  // grpc-js's tryShutdown waits for ever for a connection that is closing or destroyed already: Node never calls the
  // callback of its close. That moment is short, so every one is tried, by turns of the event loop.
  for (const end of ['is cut', 'ends with an error'] as const) {
    it(`closes its server, whichever turn of the event loop a connection ${end} in`, async () => {
      const leave = (connection: Http2Connection): void => {
        if (end === 'is cut') connection.close();
        else connection.session.goaway(constants.NGHTTP2_INTERNAL_ERROR);
      };
      for (let turns = 0; turns < 30; turns++) await closeServerWhile(leave, turns);
    });
  }

  let broker: BrokerProcess | undefined;
  showLogOnFailure(() => broker);
  afterEach(async () => {
    await broker?.dispose();
    broker = undefined;
  });

  // Before closing had bounds a quarter of the rounds hung, so fifteen that do not are no accident.
  it('ends, and with its store closed', async () => {
    for (let round = 0; round < 15; round++) {
      broker = await BrokerProcess.start();
      const connections = await openConsumers(broker.address, 8);
      for (const connection of connections) {
        connection.session.goaway(constants.NGHTTP2_INTERNAL_ERROR);
      }
      await new Promise<void>((resolve) => systemClock.after(round % 6, resolve));
      let isHanging = false;
      const limit = systemClock.after(limits.drainGraceMs, () => {
        isHanging = true;
        void broker?.kill();
      });
      const exit = await broker.stop();
      limit.cancel();
      for (const connection of connections) connection.close();
      assert.equal(isHanging, false, `round ${round}: the broker had not ended after the whole grace`);
      assert.deepEqual(exit, { code: 0, signal: null });
      assert.match(broker.tail(1), /"ended"/);
      await broker.dispose();
    }
  });
});
