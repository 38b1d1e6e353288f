import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { KiB, MiB } from '../../../../src/base/units.js';
import { type ClientConnection, Peers } from '../../../../src/transport/grpc/peers.js';
import { RequestBodies } from '../../../../src/transport/grpc/request-bodies.js';
import { VirtualClock } from '../../../support/virtual-clock.js';

describe('memory for requests', () => {
  const setup = (maxBytes: number) => {
    const peers = new Peers({ maxConnectionsPerPeer: 100, maxOpensPerSecond: 100 }, new VirtualClock());
    const bodies = new RequestBodies(maxBytes);
    let port = 0;
    const connect = () => peers.connected('10.0.0.1', `10.0.0.1:${port++}`, () => {});
    const isTaken = (connection: ClientConnection, bytes: number): boolean => {
      const refusal = bodies.take(connection, bytes);
      if (refusal === undefined) return true;
      assert.equal(refusal.reason, 'TOO_MANY_CALLS');
      assert.ok(refusal.details.retryAfterMs! > 0);
      return false;
    };
    return { bodies, peers, connect, isTaken };
  };

  it('is bounded for a connection, whose first request may be larger', () => {
    const { bodies, connect, isTaken } = setup(100 * MiB);
    const connection = connect();
    const most = limits.requestBytesPerConnection;
    assert.deepEqual([isTaken(connection, most), isTaken(connection, 1)], [true, false]);
    bodies.giveBack(connection, most);
    assert.deepEqual([isTaken(connection, 2 * most), isTaken(connection, 1)], [true, false]);
    assert.equal(isTaken(connect(), most), true);
    assert.equal(bodies.bytes, 3 * most);
  });

  it('is left to connections that hold little, when all of it is used, and no more than twice', () => {
    const { bodies, connect, isTaken } = setup(4 * MiB);
    const [first, second] = [connect(), connect()];
    assert.deepEqual([isTaken(first, 2 * MiB), isTaken(second, 2 * MiB)], [true, true]);
    assert.equal(bodies.isPressed, true);
    assert.equal(isTaken(first, 1), false);
    const third = connect();
    assert.deepEqual(
      [isTaken(third, 32 * KiB), isTaken(third, 32 * KiB), isTaken(third, 1)],
      [true, true, false],
    );
    while (bodies.bytes < 8 * MiB) assert.equal(isTaken(connect(), MiB), true);
    assert.equal(isTaken(connect(), 1), false);
  });

  it('is not divided among connections that no address tells apart', () => {
    const { peers, isTaken } = setup(100 * MiB);
    const local = peers.connectionOf('unknown');
    for (let i = 0; i < 10; i++) assert.equal(isTaken(local, 9 * MiB), true);
  });
});
