import assert from 'node:assert/strict';
import { DeadlineHeap } from '../../../src/base/deadline-heap.js';
import { limits } from '../../../src/base/limits.js';
import type { Interval } from '../../../src/base/positions.js';
import { type KeyQueue, KeyQueues } from '../../../src/core/key-queues.js';
import { Ledger } from '../../../src/core/ledger.js';
import { Outbox } from '../../../src/core/outbox.js';
import { RangeSet } from '../../../src/core/range-set.js';
import { Session } from '../../../src/core/session.js';
import { freshCursor, plenty } from './harness.js';

const key = 77;

function members(set: RangeSet | undefined): number[] {
  return (set?.toIntervals() ?? []).flatMap(({ first, last }) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i),
  );
}

function setup() {
  const free = { others: new RangeSet(), suspects: new RangeSet() };
  const waiting = new DeadlineHeap<KeyQueue | Interval>();
  const ledger = new Ledger(freshCursor);
  const outbox = new Outbox();
  const queues = new KeyQueues(free, waiting, ledger, outbox);
  const [a, b] = ['a', 'b'].map((id) => new Session(id, plenty)) as [Session, Session];
  return { free, waiting, ledger, outbox, queues, a, b };
}

describe('the queues of ordering keys', () => {
  it('give a key to one session while it holds messages of it, and reserve the next for that session', () => {
    const { queues, free, outbox, a, b } = setup();
    assert.equal(queues.mayTake(key, a), true);
    queues.take(key, 0, a, 0);
    assert.equal(queues.mayTake(key, a), true);
    assert.equal(queues.mayTake(key, b), false);
    assert.equal(queues.mayTake(key + 1, b), true);
    queues.defer(key, 3, 0);
    queues.defer(key, 5, 0);
    assert.equal(queues.deferredCount, 2);
    assert.equal(queues.mayTake(key, a), false, 'others come first');
    assert.deepEqual(members(queues.reservedFor(a)), [3]);
    assert.deepEqual([...queues.reservedSessions], [a]);
    assert.equal(queues.reservedFor(b), undefined);
    assert.deepEqual(outbox.take().ready, ['a']);
    queues.take(key, 3, a, 0);
    assert.deepEqual(members(queues.reservedFor(a)), [5]);
    assert.equal(queues.deferredCount, 1);
    queues.end(key);
    assert.deepEqual(members(free.others), [], 'it still holds one');
    queues.end(key);
    assert.deepEqual(members(free.others), [5]);
    assert.deepEqual([...queues.reservedSessions], []);
    queues.take(key, 5, b, 0);
    assert.deepEqual(members(free.others), []);
    assert.equal(queues.deferredCount, 0);
    queues.end(key);
    assert.equal(queues.mayTake(key, a), true);
    queues.end(key);
  });

  it('deliver again in order what comes back, also between deferred messages', () => {
    const { queues, free, a } = setup();
    for (const offset of [1, 2, 4]) queues.take(key, offset, a, 0);
    queues.defer(key, 3, 0);
    queues.defer(key, 9, 0);
    for (let i = 0; i < 3; i += 1) queues.end(key);
    assert.deepEqual(members(free.others), [3]);
    queues.putBack(key, [4, 2], 0);
    assert.equal(queues.deferredCount, 4);
    assert.deepEqual(members(free.others), [2], 'only the first is delivered next');
    queues.putBack(key, [1], 0);
    const order: number[] = [];
    while (free.others.offsetCount > 0) {
      const [offset] = members(free.others) as [number];
      order.push(offset);
      queues.take(key, offset, a, 0);
      queues.end(key);
    }
    assert.deepEqual(order, [1, 2, 3, 4, 9]);
    assert.equal(queues.deferredCount, 0);
  });

  it('wait for the backoff of the first message', () => {
    const { queues, free, ledger, waiting } = setup();
    ledger.fail(1, 1, 500);
    queues.putBack(key, [1, 2], 100);
    assert.deepEqual(members(free.others), []);
    assert.equal(waiting.nextAtMs, 500);
    const queue = waiting.popDue(500) as KeyQueue;
    queues.retry(queue, 500);
    assert.deepEqual(members(free.others), [1]);
    queues.putBack(key, [0], 600);
    assert.deepEqual(members(free.others), [0]);
  });

  it('forget a backoff whose message is settled', () => {
    const { queues, free, ledger, waiting } = setup();
    ledger.fail(1, 1, 500);
    queues.putBack(key, [1, 2], 100);
    queues.dropBelow(1);
    assert.equal(queues.deferredCount, 2);
    assert.equal(waiting.nextAtMs, 500, 'nothing is below');
    queues.dropBelow(2);
    assert.equal(waiting.nextAtMs, Number.POSITIVE_INFINITY);
    assert.deepEqual(members(free.others), [2]);
    assert.equal(queues.deferredCount, 1);
    queues.dropBelow(3);
    assert.deepEqual(members(free.others), []);
    assert.equal(queues.deferredCount, 0);
  });

  it('hold a suspect back until nothing of its key is outstanding, and offer it apart', () => {
    const { queues, free, ledger, a } = setup();
    const atWork = new RangeSet();
    atWork.add(3, 3);
    ledger.streamBroke(atWork);
    ledger.streamBroke(atWork);
    queues.take(key, 0, a, 0);
    queues.defer(key, 3, 0);
    assert.equal(queues.reservedFor(a), undefined);
    assert.deepEqual(members(free.suspects), []);
    queues.end(key);
    assert.deepEqual(members(free.suspects), [3]);
    assert.deepEqual(members(free.others), []);
  });

  it('have room up to their limit, and nothing after they are cleared', () => {
    const { queues, free, a } = setup();
    for (let i = 0; i < limits.deferredMessages; i += 1) {
      assert.equal(queues.hasRoom, true);
      queues.defer(key, i, 0);
    }
    assert.equal(queues.hasRoom, false);
    queues.clear();
    assert.equal(queues.deferredCount, 0);
    assert.equal(queues.hasRoom, true);
    assert.deepEqual(members(free.others), []);
    assert.equal(queues.mayTake(key, a), true);
  });
});
