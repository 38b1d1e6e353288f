import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { secondMs } from '../../../../src/base/units.js';
import { HalfOpenStreams } from '../../../../src/transport/grpc/half-open-streams.js';
import { VirtualClock } from '../../../support/virtual-clock.js';

function setup() {
  const clock = new VirtualClock();
  const streams = new HalfOpenStreams(clock);
  const closed: number[] = [];
  const add = (id: number) => {
    const stream = { isClosed: false, hasLeft: true, close: () => void closed.push(id) };
    streams.add(stream);
    return stream;
  };
  return { clock, streams, closed, add };
}

describe('half-open streams', () => {
  it('are closed after a time, but not before their status has left', () => {
    const { clock, streams, closed, add } = setup();
    add(1);
    const slow = add(2);
    slow.hasLeft = false;
    clock.advance(limits.halfOpenMs - secondMs);
    assert.deepEqual(closed, []);
    clock.advance(secondMs);
    assert.deepEqual(closed, [1]);
    slow.hasLeft = true;
    clock.advance(secondMs);
    assert.deepEqual(closed, [1, 2]);
    assert.equal(streams.count, 0);
    assert.equal(clock.pendingCount, 0);
  });

  it('are forgotten when their client closes its half', () => {
    const { clock, streams, closed, add } = setup();
    add(1).isClosed = true;
    clock.advance(secondMs);
    assert.equal(streams.count, 0);
    assert.deepEqual(closed, []);
    assert.equal(clock.pendingCount, 0);
  });

  it('are closed earlier when they are many, the oldest first, until few are left', () => {
    const { clock, streams, closed, add } = setup();
    for (let id = 0; id < limits.halfOpenStreams + 50; id++) add(id);
    clock.advance(limits.leastHalfOpenMs);
    assert.deepEqual(
      closed,
      Array.from({ length: 50 }, (_, id) => id),
    );
    assert.equal(streams.count, limits.halfOpenStreams);
    clock.advance(limits.halfOpenMs);
    assert.equal(streams.count, 0);
  });
});
