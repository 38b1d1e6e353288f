import assert from 'node:assert/strict';
import { KiB, secondMs } from '../../../../src/base/units.js';
import { Peers } from '../../../../src/transport/grpc/peers.js';
import { StreamAnswers } from '../../../../src/transport/grpc/stream-answers.js';
import { VirtualClock } from '../../../support/virtual-clock.js';

const maxBytes = 100 * KiB;

function setup() {
  const clock = new VirtualClock();
  const peers = new Peers({ maxConnectionsPerPeer: 10, maxOpensPerSecond: 100 }, clock);
  const connection = peers.connected('10.0.0.1', '10.0.0.1:1', () => {});
  const all = new StreamAnswers(maxBytes);
  return { all, clock, connection, open: () => all.open(connection) };
}

describe('what streams owe their clients', () => {
  it('never takes all of the memory, however many streams there are whose clients do not read', () => {
    const { all, open } = setup();
    const stuckCount = 200;
    const answerBytes = 100;
    for (let i = 0; i < stuckCount; i += 1) {
      const stuck = open();
      while (!stuck.isFull) stuck.add(answerBytes);
    }
    assert.ok(all.bytes < maxBytes + stuckCount * answerBytes, `${all.bytes} bytes`);
    const healthy = open();
    for (let i = 0; i < 10; i += 1) {
      assert.equal(healthy.isFull, false, 'it owes nothing when it asks');
      healthy.add(100);
      healthy.remove(100);
    }
  });

  it('lets a stream that owes nothing have one more answer, also where no memory is left', () => {
    const { all, open } = setup();
    open().add(maxBytes);
    assert.equal(all.isPressed, true);
    const other = open();
    assert.equal(other.isFull, false);
    other.add(1);
    assert.equal(other.isFull, true);
  });

  it('tells a held stream once when enough of its own has left', () => {
    const { open } = setup();
    const stream = open();
    stream.add(maxBytes / 2);
    assert.equal(stream.isFull, true);
    let count = 0;
    stream.whenRoom(() => {
      count += 1;
    });
    stream.remove(10);
    assert.equal(count, 0);
    stream.remove(maxBytes / 2 - 10);
    stream.add(10);
    stream.remove(10);
    assert.equal(count, 1);
  });

  it('counts an answer once that waits for the transport when the stream ends', () => {
    const { all, open } = setup();
    const stream = open();
    stream.add(1_000);
    stream.ended(() => 400);
    assert.equal(all.bytes, 1_000);
    stream.ended(() => 1_500);
    assert.equal(all.bytes, 1_500);
    stream.close();
    assert.equal(all.bytes, 0);
  });

  it('is being read while frames of a stream that has ended leave', () => {
    const { clock, connection, open } = setup();
    let unsentBytes = 100_000;
    const stream = open();
    stream.ended(() => unsentBytes);
    const look = () => connection.stuckForMs(clock.monotonicMs());
    look();
    for (let i = 0; i < 40; i += 1) {
      clock.advance(secondMs);
      unsentBytes -= 1_000;
      assert.equal(look(), 0);
    }
    for (let i = 1; i <= 10; i += 1) {
      clock.advance(secondMs);
      assert.equal(look(), i * secondMs);
    }
    stream.close();
    assert.equal(connection.ending.size, 0);
    clock.advance(secondMs);
    assert.equal(look(), 0);
  });

  it('is given back when the stream is closed, once', () => {
    const { all, connection, open } = setup();
    const stream = open();
    stream.add(1_000);
    stream.close();
    stream.close();
    stream.add(500);
    stream.remove(500);
    assert.equal(all.bytes, 0);
    assert.equal(connection.unreadBytes, 0);
  });

  it('stays unread by a client that only opens and closes other streams', () => {
    const { clock, connection, open } = setup();
    open().add(maxBytes);
    const look = () => connection.stuckForMs(clock.monotonicMs());
    look();
    for (let i = 1; i <= 10; i += 1) {
      clock.advance(secondMs);
      open().close();
      const reset = open();
      reset.add(10);
      reset.close();
      assert.equal(look(), i * secondMs);
    }
    const read = open();
    read.add(10);
    read.remove(10);
    assert.equal(look(), 0);
  });
});
