import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Ledger } from '../../../src/core/ledger.js';
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
});
