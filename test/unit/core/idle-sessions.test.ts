import assert from 'node:assert/strict';
import fc from 'fast-check';
import { IdleSessions } from '../../../src/core/idle-sessions.js';
import { Outbox } from '../../../src/core/outbox.js';
import { Session } from '../../../src/core/session.js';

/** Idle sessions with so many outstanding messages each. */
function idleWith(...loads: number[]): { idle: IdleSessions; outbox: Outbox; sessions: Session[] } {
  const outbox = new Outbox();
  const idle = new IdleSessions(outbox);
  const sessions = loads.map((load, i) => {
    const session = new Session(`s${i}`, { messages: 1_000, bytes: 1_000 });
    session.take(load, 0);
    idle.open(session);
    idle.enter(session);
    return session;
  });
  return { idle, outbox, sessions };
}

function asking(load: number): Session {
  const session = new Session('asking', { messages: 1_000, bytes: 1_000 });
  session.take(load, 0);
  return session;
}

/** Gives messages one by one, each to the session with the fewest; the session that asks goes first among equals. */
function shareOneByOne(own: number, loads: readonly number[], messageCount: number): number {
  const levels = [own, ...loads];
  let taken = 0;
  for (let i = 0; i < messageCount; i += 1) {
    const least = Math.min(...levels);
    const index = levels.indexOf(least);
    levels[index] = least + 1;
    if (index === 0) taken += 1;
  }
  return taken;
}

describe('idle sessions', () => {
  it('share available messages so that those with the fewest are filled up first', () => {
    const loads = fc.array(fc.nat(8), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.nat(8), loads, fc.integer({ min: 1, max: 40 }), (own, others, available) => {
        const { idle } = idleWith(...others);
        idle.availableCount = available;
        assert.equal(idle.shareOf(asking(own)), shareOneByOne(own, others, available));
      }),
    );
  });

  it('serve the least loaded session also if nothing is available', () => {
    const { idle } = idleWith(3, 5);
    assert.equal(idle.shareOf(asking(0)), 1);
    assert.equal(idle.shareOf(asking(3)), 1);
    assert.equal(idle.shareOf(asking(4)), 0);
  });

  it('leave everything to a session if no other is idle', () => {
    const { idle, sessions } = idleWith(1);
    idle.leave(sessions[0]!);
    assert.equal(idle.shareOf(asking(100)), Number.POSITIVE_INFINITY);
  });

  it('are woken one after another, the one with the fewest outstanding messages first', () => {
    const { idle, outbox } = idleWith(2, 0, 1, 0);
    const woken: string[] = [];
    for (let i = 0; i < 6; i += 1) {
      idle.wakeOne();
      woken.push(...outbox.take().ready);
    }
    assert.deepEqual(woken, ['s1', 's3', 's2', 's0']);
  });

  it('are woken again after they have asked', () => {
    const { idle, outbox, sessions } = idleWith(0);
    idle.wakeOne();
    idle.enter(sessions[0]!);
    idle.wakeOne();
    assert.deepEqual(outbox.take().ready, ['s0']);
    idle.wakeOne();
    assert.deepEqual(outbox.take().ready, []);
    idle.leave(sessions[0]!);
    idle.wakeOne();
    assert.deepEqual(outbox.take().ready, [], 'it is not idle');
    idle.close(sessions[0]!);
    idle.wakeOne();
    assert.deepEqual(outbox.take().ready, []);
  });

  it('without credit are passed over, and are not idle', () => {
    const { idle, outbox, sessions } = idleWith(0, 1);
    sessions[0]!.credit = { messages: 0, bytes: 1_000 };
    idle.wakeOne();
    assert.deepEqual(outbox.take().ready, ['s1']);
    sessions[1]!.credit = { messages: 1, bytes: 1_000 };
    idle.enter(sessions[1]!);
    idle.wakeOne();
    assert.deepEqual(outbox.take().ready, []);
    assert.equal(idle.shareOf(asking(9)), Number.POSITIVE_INFINITY);
  });

  it('that are silent are served only while every other session is silent or paused', () => {
    const { idle, outbox, sessions } = idleWith(0, 0);
    const [silent, other] = sessions as [Session, Session];
    silent.isSilent = true;
    idle.silence(silent);
    assert.equal(idle.mayServe(silent), false);
    assert.equal(idle.mayServe(other), true);
    assert.equal(idle.shareOf(asking(0)), 1, 'a silent one counts for no share');
    idle.wakeOne();
    assert.deepEqual(outbox.take().ready, ['s1']);
    idle.wakeOne();
    assert.deepEqual(outbox.take().ready, []);
    other.credit = { messages: 0, bytes: 1 };
    assert.equal(idle.mayServe(silent), true);
    idle.leave(other);
    idle.wakeOne();
    assert.deepEqual(outbox.take().ready, ['s0']);
    idle.wakeOne();
    assert.deepEqual(outbox.take().ready, [], 'once');
    other.credit = { messages: 1, bytes: 1 };
    other.isSilent = true;
    assert.equal(idle.mayServe(silent), true);
  });

  it('stay asleep when they become silent while they are not idle', () => {
    const { idle, outbox, sessions } = idleWith(0);
    idle.leave(sessions[0]!);
    sessions[0]!.isSilent = true;
    idle.silence(sessions[0]!);
    idle.wakeOne();
    assert.deepEqual(outbox.take().ready, []);
  });
});
