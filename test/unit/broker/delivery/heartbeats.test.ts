import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { Alarm } from '../../../../src/broker/alarm.js';
import { type BeatingSubscription, Heartbeats } from '../../../../src/broker/delivery/heartbeats.js';
import { VirtualClock } from '../../../support/virtual-clock.js';

describe('Heartbeats', () => {
  let clock: VirtualClock;
  let sessions: Map<string, BeatingSubscription>;
  /** Session and backlog of each beat, since it was last looked at. */
  let beats: string[];
  let heartbeats: Heartbeats;

  beforeEach(() => {
    clock = new VirtualClock(0);
    sessions = new Map();
    beats = [];
    heartbeats = new Heartbeats({ clock, alarm: new Alarm(clock), sessions });
  });

  function subscription(name: string, backlogMessageCount: number, consumers: number, isHeld = false) {
    const links = Array.from({ length: consumers }, (_, i) => {
      const sessionId = `${name}-${i}`;
      const heartbeat = (_timeMs: number, backlog: number) => void beats.push(`${sessionId}:${backlog}`);
      return { sessionId, isHeldByTransport: isHeld, sink: { heartbeat } };
    });
    const shared = { backlogMessageCount, links };
    for (const { sessionId } of links) sessions.set(sessionId, shared);
  }

  it('reach every consumer once a round, with the backlog of its subscription', () => {
    subscription('a', 7, 2);
    subscription('b', 0, 1);
    heartbeats.wake(0);
    assert.deepEqual(beats.splice(0), ['a-0:7', 'a-1:7', 'b-0:0']);
    clock.advance(limits.heartbeatEveryMs - 1);
    assert.deepEqual(beats, []);
    clock.advance(1);
    assert.equal(beats.length, 3);
    assert.equal(clock.pendingCount, 1, 'one timer, however many consumers');
  });

  it('pause after a few hundred, so that others are served', () => {
    const consumers = 2 * limits.heartbeatsAtOnce + 1;
    subscription('many', 1, consumers);
    heartbeats.wake(0);
    assert.equal(beats.length, limits.heartbeatsAtOnce);
    clock.advance(limits.heartbeatPauseMs);
    assert.equal(beats.length, 2 * limits.heartbeatsAtOnce);
    clock.advance(limits.heartbeatPauseMs);
    assert.equal(new Set(beats).size, consumers);
    clock.advance(limits.heartbeatEveryMs - 2 * limits.heartbeatPauseMs);
    assert.equal(beats.length, consumers + limits.heartbeatsAtOnce, 'rounds begin at equal intervals');
  });

  it('pass over those that do not read, or have left in the middle of a round', () => {
    subscription('held', 1, 1, true);
    subscription('many', 1, limits.heartbeatsAtOnce + 1);
    heartbeats.wake(0);
    const last = `many-${limits.heartbeatsAtOnce}`;
    sessions.delete(last);
    clock.advance(limits.heartbeatPauseMs);
    assert.ok(!beats.some((beat) => beat.startsWith('held') || beat.startsWith(`${last}:`)));
    assert.equal(beats.length, limits.heartbeatsAtOnce);
  });
});
