import assert from 'node:assert/strict';
import { limits } from '../../../src/base/limits.js';
import { DeliveriesInTransit, transitMs } from '../../../src/core/deliveries-in-transit.js';
import type { DeliveryRecord } from '../../../src/core/leases.js';
import { Session } from '../../../src/core/session.js';
import { defaultPolicy, plenty } from './harness.js';

const waitMs = limits.minTransitMs;

function setup() {
  const deliveries = new DeliveriesInTransit();
  const sessions = ['a', 'b'].map((id) => new Session(id, plenty)) as [Session, Session];
  let nextId = 0;
  const add = (session: Session, leasedAtMs: number, takeBackCount = 0): DeliveryRecord => {
    nextId += 1;
    const place = { partition: 0, first: nextId, last: nextId };
    const record = {
      id: nextId,
      session,
      ...place,
      isSent: false,
      leasedAtMs,
      takeBackCount,
      isTakenBack: false,
    };
    deliveries.add(record, defaultPolicy);
    return record;
  };
  const look = (nowMs: number) => [...deliveries.look(defaultPolicy, sessions, nowMs)].map(({ id }) => id);
  return { deliveries, sessions, add, look };
}

describe('deliveries that wait for the transport', () => {
  it('wait for the lease time, but at least the shortest time, and double it with each take-back', () => {
    assert.equal(transitMs({ ...defaultPolicy, ackDeadlineMs: 1 }, 0), limits.minTransitMs);
    assert.equal(transitMs({ ...defaultPolicy, ackDeadlineMs: 60_000 }, 0), 60_000);
    assert.equal(transitMs({ ...defaultPolicy, ackDeadlineMs: 60_000 }, 3), 480_000);
  });

  it('are taken back when the transport took nothing for so long, once, and not before', () => {
    const {
      deliveries,
      sessions: [a],
      add,
      look,
    } = setup();
    const record = add(a, 100);
    assert.equal(deliveries.nextLookMs, 100 + waitMs);
    assert.deepEqual(look(99 + waitMs), []);
    assert.equal(record.isTakenBack, false);
    assert.deepEqual(look(100 + waitMs), ['a']);
    assert.equal(record.isTakenBack, true);
    assert.equal(deliveries.nextLookMs, Number.POSITIVE_INFINITY);
    deliveries.lookAgain();
    assert.deepEqual(look(100 + 2 * waitMs), []);
  });

  it('wait from the time at which the one before left', () => {
    const {
      deliveries,
      sessions: [a],
      add,
      look,
    } = setup();
    const first = add(a, 0);
    add(a, 0);
    assert.equal(deliveries.left(first.id, 900), first);
    assert.equal(deliveries.left(first.id, 900), undefined);
    assert.deepEqual(look(waitMs), []);
    assert.equal(deliveries.nextLookMs, 900 + waitMs);
    assert.deepEqual(look(900 + waitMs), ['a']);
  });

  it('wait as long as the one that was taken back most often', () => {
    const {
      deliveries,
      sessions: [a],
      add,
      look,
    } = setup();
    add(a, 0);
    add(a, 0, 2);
    add(a, 0, 1);
    assert.deepEqual(look(waitMs), []);
    assert.equal(deliveries.nextLookMs, 4 * waitMs);
    assert.deepEqual(look(4 * waitMs), ['a']);
  });

  it('stay while no other session can take them', () => {
    for (const change of [
      (b: Session) => (b.isSilent = true),
      (b: Session) => (b.credit = { messages: 0, bytes: 1 }),
      (b: Session) => b.take(0, plenty.bytes),
    ]) {
      const { deliveries, sessions, add, look } = setup();
      const [a, b] = sessions;
      change(b);
      add(a, 0);
      assert.deepEqual(look(waitMs), []);
      assert.equal(deliveries.nextLookMs, Number.POSITIVE_INFINITY);
      b.isSilent = false;
      b.credit = plenty;
      b.giveBack(0, b.outstandingBytes);
      deliveries.canTakeMore(b);
      assert.deepEqual(look(waitMs), ['a'], 'when it can');
    }
  });

  it('go to a session that gets credit now and then and uses it up at once', () => {
    const { deliveries, sessions, add, look } = setup();
    const [a, b] = sessions;
    b.take(0, plenty.bytes);
    add(a, 0);
    look(waitMs);
    b.giveBack(0, 1);
    deliveries.canTakeMore(b);
    b.take(0, 1);
    assert.deepEqual(look(waitMs), ['a']);
  });

  it('are not looked for again because of credit that does not help', () => {
    const { deliveries, sessions, add, look } = setup();
    const [a, b] = sessions;
    deliveries.canTakeMore(b);
    assert.equal(deliveries.nextLookMs, Number.POSITIVE_INFINITY, 'nothing waits');
    b.isSilent = true;
    add(a, 0);
    look(waitMs);
    deliveries.canTakeMore(b);
    assert.equal(deliveries.nextLookMs, Number.POSITIVE_INFINITY, 'it is silent');
    b.isSilent = false;
    b.take(0, plenty.bytes);
    deliveries.canTakeMore(b);
    assert.equal(deliveries.nextLookMs, Number.POSITIVE_INFINITY, 'it has no credit');
    deliveries.lookAgain();
    assert.equal(deliveries.nextLookMs, 0);
  });

  it('of two stuck sessions do not go to each other', () => {
    const {
      sessions: [a, b],
      add,
      look,
    } = setup();
    add(a, 0);
    add(b, 0);
    assert.deepEqual(look(waitMs), ['a'], 'the other one keeps its own');
  });

  it('are forgotten with their session', () => {
    const {
      deliveries,
      sessions: [a, b],
      add,
      look,
    } = setup();
    const record = add(a, 0);
    const other = add(b, 50);
    deliveries.forget(a);
    assert.equal(deliveries.left(record.id, 1), undefined);
    assert.deepEqual(look(50 + waitMs), ['b']);
    deliveries.left(other.id, 60 + waitMs);
    deliveries.forget(b);
    assert.equal(deliveries.nextLookMs, Number.POSITIVE_INFINITY);
    deliveries.lookAgain();
    assert.equal(deliveries.nextLookMs, Number.POSITIVE_INFINITY, 'there is nothing to look for');
  });

  it('tell once of a stuck session whose transport moves again', () => {
    const {
      deliveries,
      sessions: [a],
      add,
    } = setup();
    const records = [add(a, 0), add(a, 0)];
    deliveries.left(records[0]!.id, 5);
    assert.deepEqual(deliveries.takeMoved(), [], 'it was not stuck');
    a.isStuck = true;
    deliveries.left(records[1]!.id, 6);
    assert.equal(deliveries.nextLookMs, 6);
    assert.equal(a.lastLeftAtMs, 6);
    assert.equal(a.deliveriesInTransit.size, 0);
    assert.deepEqual(deliveries.takeMoved(), [a]);
    assert.deepEqual(deliveries.takeMoved(), []);
  });
});
