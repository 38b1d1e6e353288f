import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { secondMs } from '../../../../src/base/units.js';
import { Peers } from '../../../../src/transport/grpc/peers.js';
import { VirtualClock } from '../../../support/virtual-clock.js';

describe('the connections of an address', () => {
  const setup = (options: { maxConnectionsPerPeer?: number; maxOpensPerSecond?: number } = {}) => {
    const clock = new VirtualClock();
    const peers = new Peers({ maxConnectionsPerPeer: 1_000, maxOpensPerSecond: 5, ...options }, clock);
    const cut: number[] = [];
    let port = 0;
    const connect = (address = '10.0.0.1') => {
      const own = port++;
      return peers.connected(address, `${address}:${own}`, () => cut.push(own));
    };
    return { clock, peers, cut, connect };
  };

  it('share what their address may open, and each may open a few in any case', () => {
    const { clock, connect } = setup();
    const greedy = connect();
    let count = 0;
    while (greedy.mayOpen(clock.monotonicMs())) count++;
    assert.equal(count, 5 * limits.opensBurstSeconds + 2 * limits.freeOpensPerSecond);
    assert.equal(connect().mayOpen(clock.monotonicMs()), true, 'another connection of the address');
    assert.equal(connect('10.0.0.2').mayOpen(clock.monotonicMs()), true, 'another address');
    clock.advance(secondMs);
    assert.equal(greedy.mayOpen(clock.monotonicMs()), true, 'a second later');
  });

  it('are cut where they reset their calls at once, time and again, over however many of them', () => {
    const { clock, peers, cut, connect } = setup();
    for (let i = 0; i < limits.brokenOpensBurst; i++) connect().broke(clock.monotonicMs());
    assert.deepEqual(cut, []);
    const last = connect();
    last.broke(clock.monotonicMs());
    last.broke(clock.monotonicMs());
    assert.deepEqual(cut, [limits.brokenOpensBurst], 'once');
    assert.equal(peers.cutCount, 1);
  });

  it('are remembered for a while after the last of them', () => {
    const { clock, peers, cut, connect } = setup();
    for (let i = 0; i < limits.brokenOpensBurst; i++) {
      const connection = connect();
      connection.broke(clock.monotonicMs());
      peers.disconnected('10.0.0.1', `10.0.0.1:${i}`, connection);
    }
    connect().broke(clock.monotonicMs());
    assert.equal(cut.length, 1);
  });

  it('are told apart where a client connects anew from the same port before the old one has ended', () => {
    const { peers } = setup();
    const [address, peer] = ['10.0.0.1', '10.0.0.1:5000'];
    const old = peers.connected(address, peer, () => {});
    const renewed = peers.connected(address, peer, () => {});
    peers.disconnected(address, peer, old);
    assert.equal(peers.connectionOf(peer), renewed);
    assert.equal(peers.connectionCount, 1);
    peers.disconnected(address, peer, renewed);
    assert.equal(peers.connectionCount, 0);
  });

  it('are refused above their number, closed a moment later, and closed at once where there is a flood', () => {
    const { clock, cut, connect } = setup({ maxConnectionsPerPeer: 2 });
    assert.deepEqual(
      [connect(), connect(), connect()].map(({ isSurplus }) => isSurplus),
      [false, false, true],
    );
    assert.deepEqual(cut, []);
    clock.advance(limits.surplusConnectionMs);
    assert.deepEqual(cut, [2]);
    for (let i = 0; i < limits.surplusConnections; i++) connect();
    assert.equal(cut.length, 2);
  });

  it('are stuck while they have unread answers and read none, from look to look', () => {
    const { clock, connect } = setup();
    const connection = connect();
    const look = () => connection.stuckForMs(clock.monotonicMs());
    const advance = () => clock.advance(secondMs);
    assert.equal(look(), 0);
    clock.advance(100 * secondMs);
    connection.unreadBytes += 10;
    assert.equal(look(), 0, 'what it was sent after a long silence is not old');
    advance();
    assert.equal(look(), secondMs);
    connection.answerBytes += 10;
    advance();
    assert.equal(look(), 2 * secondMs);
    connection.leftCount += 1;
    advance();
    assert.equal(look(), 0, 'it has read one');
    advance();
    connection.answerBytes = 0;
    connection.unreadBytes = 0;
    assert.equal(look(), 0, 'it has read all');
  });
});
