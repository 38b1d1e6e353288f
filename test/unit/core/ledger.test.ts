import assert from 'node:assert/strict';
import fc from 'fast-check';
import { limits } from '../../../src/base/limits.js';
import { Ledger } from '../../../src/core/ledger.js';
import { RangeSet } from '../../../src/core/range-set.js';
import { freshCursor } from './harness.js';

const end = 40;

const change = fc.oneof(
  fc.record({
    kind: fc.constant('settle' as const),
    first: fc.nat(end - 1),
    length: fc.integer({ min: 1, max: 6 }),
  }),
  fc.record({ kind: fc.constant('fail' as const), first: fc.nat(end - 1), length: fc.constant(1) }),
  fc.record({ kind: fc.constant('raise' as const), first: fc.nat(end / 2), length: fc.constant(1) }),
);

type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

/** Makes a change to the ledger, and notes in `settled` which offsets it settles. */
function apply({ kind, first, length }: Change, ledger: Ledger, settled: Set<number>): void {
  const last = Math.min(end, first + length) - 1;
  if (kind === 'fail') {
    if (!ledger.isSettled(first)) ledger.fail(first, ledger.attempts(first) + 1, 0);
  } else if (kind === 'raise') {
    ledger.raiseFloor(first);
    for (let offset = 0; offset < first; offset += 1) settled.add(offset);
  } else {
    ledger.settle(first, last);
    for (let offset = first; offset <= last; offset += 1) settled.add(offset);
  }
}

function compare(ledger: Ledger, settled: ReadonlySet<number>): void {
  const { state } = ledger;
  assert.deepEqual(new Ledger(state).state, state);
  assert.equal(ledger.backlog(end), end - settled.size);
  assert.ok(!settled.has(state.acknowledgedOffset), 'the acknowledged offset is settled itself');
  let previousLast = state.acknowledgedOffset;
  for (const { first, last } of state.settled) {
    assert.ok(first > previousLast + (previousLast === state.acknowledgedOffset ? 0 : 1), 'touching');
    previousLast = last;
  }
  for (const { offset, attempts } of state.failed) {
    assert.ok(attempts > 0 && !settled.has(offset), `${offset} is settled and failed`);
  }
  for (let offset = 0; offset < end; offset += 1) {
    assert.equal(ledger.isSettled(offset), settled.has(offset));
  }
}

describe('Ledger', () => {
  it('comes back from its state as it was, and the state is in its normal form', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
        const ledger = new Ledger(freshCursor);
        const settled = new Set<number>();
        for (const each of changes) apply(each, ledger, settled);
        compare(ledger, settled);
      }),
      { numRuns: 500 },
    );
  });

  it('stops a piece where messages stop being alike', () => {
    const ledger = new Ledger(freshCursor);
    ledger.fail(3, 1, 0);
    ledger.fail(4, 1, 0);
    ledger.fail(5, 2, 0);
    ledger.settle(8, 9);
    assert.equal(ledger.alikeEnd(0, 100), 3, 'before the first failed one');
    assert.equal(ledger.alikeEnd(3, 100), 5, 'those that failed as often');
    assert.equal(ledger.alikeEnd(5, 100), 6);
    assert.equal(ledger.alikeEnd(6, 100), 8, 'before settled ones');
    assert.equal(ledger.alikeEnd(10, 12), 12, 'no further than asked');
  });

  it('counts a dead letter once, and settles it', () => {
    const ledger = new Ledger(freshCursor);
    ledger.fail(0, 3, 0);
    ledger.deadLetter(0, 7);
    assert.equal(ledger.nextPending(0), 1);
    assert.equal(ledger.isSettled(0), false);
    assert.equal(ledger.deadLettered(0), true);
    assert.equal(ledger.deadLettered(0), false);
    assert.deepEqual(ledger.state, { ...freshCursor, acknowledgedOffset: 1, deadLetterCount: 1 });
  });

  it('keeps a dead-letter request under way over a reset, so that the message ends in one place', () => {
    const ledger = new Ledger(freshCursor);
    ledger.settle(0, 9);
    ledger.deadLetter(12, 0);
    ledger.reset(5);
    assert.equal(ledger.nextPending(12), 13);
    assert.equal(ledger.deadLettered(12), true);
    assert.deepEqual(ledger.state.settled, [{ first: 12, last: 12 }]);
  });

  it('finds what is settled and pending from an offset on', () => {
    const ledger = new Ledger({ ...freshCursor, acknowledgedOffset: 3, settled: [{ first: 5, last: 7 }] });
    assert.deepEqual(
      [0, 3, 5, 8].map((offset) => ledger.nextSettled(offset)),
      [0, 5, 5, Number.POSITIVE_INFINITY],
    );
    assert.deepEqual(
      [0, 3, 5, 7, 8].map((offset) => ledger.nextUnsettled(offset)),
      [3, 3, 8, 8, 8],
    );
    assert.deepEqual(
      [2, 3, 4, 5, 7, 8].map((offset) => ledger.isSettled(offset)),
      [true, false, false, true, true, false],
    );
    for (const offset of [4, 8, 9]) ledger.deadLetter(offset, 0);
    assert.deepEqual(
      [3, 4, 5, 9, 10].map((offset) => ledger.nextPending(offset)),
      [3, 10, 10, 10, 10],
    );
    assert.deepEqual(
      [3, 4, 5, 10].map((offset) => ledger.nextDeadLettering(offset)),
      [4, 4, 8, Number.POSITIVE_INFINITY],
    );
    assert.deepEqual(
      ledger.notDeadLetteringFrom(3).map(({ first, last }) => [first, last]),
      [
        [3, 3],
        [5, 7],
        [10, limits.maxOffset - 1],
      ],
    );
    assert.deepEqual(
      ledger.notDeadLetteringFrom(4).map(({ first }) => first),
      [5, 10],
    );
    assert.deepEqual(
      [20, 3, 2].map((until) => ledger.backlog(until)),
      [14, 0, 0],
    );
  });

  it('settles up to the next message that is not settled', () => {
    const ledger = new Ledger({ ...freshCursor, settled: [{ first: 3, last: 4 }] });
    ledger.fail(1, 2, 50);
    ledger.fail(6, 2, 50);
    assert.equal(ledger.raiseFloor(0), false);
    ledger.settle(0, 2);
    assert.deepEqual(ledger.state, {
      acknowledgedOffset: 5,
      settled: [],
      failed: [{ offset: 6, attempts: 2 }],
      deadLetterCount: 0,
    });
    assert.equal(ledger.raiseFloor(5), false);
    assert.equal(ledger.raiseFloor(7), true);
    assert.deepEqual(ledger.state, { ...freshCursor, acknowledgedOffset: 7 });
  });

  it('remembers failures and when messages may be delivered again', () => {
    const ledger = new Ledger({ ...freshCursor, failed: [{ offset: 2, attempts: 4 }] });
    assert.deepEqual([ledger.attempts(2), ledger.retryAtMs(2)], [4, 0]);
    ledger.fail(2, 5, 700);
    ledger.fail(3, 5, 800);
    ledger.fail(9, 6, 700);
    assert.deepEqual([ledger.attempts(2), ledger.retryAtMs(2)], [5, 700]);
    assert.deepEqual([ledger.attempts(4), ledger.retryAtMs(4)], [0, 0]);
    assert.deepEqual(ledger.failedAtLeast(5), [2, 3, 9]);
    assert.deepEqual(ledger.failedAtLeast(6), [9]);
    assert.equal(ledger.alikeEnd(2, 100), 3, 'the next one waits longer');
    ledger.deadLetter(9, 44);
    assert.equal(ledger.isDeadLettering(9), true);
    assert.deepEqual(ledger.deadLetterFailed(9), { attempts: 6, orderingKey: 44 });
    assert.equal(ledger.deadLetterFailed(9), undefined);
    assert.equal(ledger.isDeadLettering(9), false);
    assert.equal(ledger.attempts(9), 6);
  });

  it('ends what may go out together before a dead letter and before a suspect', () => {
    const ledger = new Ledger(freshCursor);
    ledger.deadLetter(5, 0);
    assert.equal(ledger.alikeEnd(0, 100), 5);
    breakTwice(ledger, 2, 3);
    assert.equal(ledger.alikeEnd(0, 100), 2);
    assert.equal(ledger.alikeEnd(2, 100), 3, 'a suspect goes alone');
    assert.equal(ledger.alikeEnd(4, 100), 5);
  });

  it('suspects messages that were in two breaks, the lowest first, up to a limit', () => {
    const ledger = new Ledger(freshCursor);
    breakOnce(ledger, 10, 19);
    assert.equal(ledger.suspectCount, 0);
    breakOnce(ledger, 5, 12);
    assert.deepEqual(
      [4, 9, 10, 12, 13].map((offset) => ledger.isSuspect(offset)),
      [false, false, true, true, false],
    );
    assert.equal(ledger.suspectCount, 3);
    ledger.clear(11, 11);
    assert.equal(ledger.isSuspect(11), false);
    breakOnce(ledger, 11, 11);
    assert.equal(ledger.isSuspect(11), false, 'it has only one break now');
    ledger.settle(10, 10);
    assert.equal(ledger.suspectCount, 1);
    const many = new Ledger(freshCursor);
    breakTwice(many, 0, limits.suspectsPerPartition + 9);
    assert.equal(many.suspectCount, limits.suspectsPerPartition);
    assert.equal(many.isSuspect(limits.suspectsPerPartition - 1), true);
    many.raiseFloor(10);
    assert.equal(many.suspectCount, limits.suspectsPerPartition - 10);
    breakOnce(many, limits.suspectsPerPartition, limits.suspectsPerPartition + 9);
    assert.equal(many.suspectCount, limits.suspectsPerPartition, 'when there is room');
    many.reset(0);
    assert.equal(many.suspectCount, 0);
    breakOnce(many, 0, 3);
    assert.equal(many.suspectCount, 0, 'a reset forgets the breaks');
  });
});

function breakOnce(ledger: Ledger, first: number, last: number): void {
  const atWork = new RangeSet();
  atWork.add(first, last);
  ledger.streamBroke(atWork);
}

function breakTwice(ledger: Ledger, first: number, last: number): void {
  breakOnce(ledger, first, last);
  breakOnce(ledger, first, last);
}
