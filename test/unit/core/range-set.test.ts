import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RangeSet } from '../../../src/core/range-set.js';

const maxOffset = 60;

const change = fc.record({
  isRemoval: fc.boolean(),
  first: fc.nat(maxOffset),
  length: fc.integer({ min: 1, max: 12 }),
});

describe('RangeSet', () => {
  it('does what a plain set does', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        const ranges = new RangeSet();
        const plain = new Set<number>();
        for (const { isRemoval, first, length } of changes) {
          const last = first + length - 1;
          if (isRemoval) ranges.remove(first, last);
          else ranges.add(first, last);
          const set = (offset: number) => (isRemoval ? plain.delete(offset) : plain.add(offset));
          for (let offset = first; offset <= last; offset += 1) set(offset);
          compare(ranges, plain);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('is empty after it was cleared, and usable', () => {
    const ranges = new RangeSet();
    ranges.add(1, 2);
    ranges.add(9, 9);
    ranges.clear();
    assert.equal(ranges.offsetCount, 0);
    assert.equal(ranges.intervalCount, 0);
    compare(ranges, new Set());
    ranges.add(5, 6);
    compare(ranges, new Set([5, 6]));
  });

  it('removes exactly what it is told from one interval and over several', () => {
    const cases = [
      { removed: [10, 19], left: [] },
      { removed: [10, 10], left: [[11, 19]] },
      { removed: [19, 19], left: [[10, 18]] },
      {
        removed: [12, 14],
        left: [
          [10, 11],
          [15, 19],
        ],
      },
      { removed: [5, 9], left: [[10, 19]] },
      { removed: [20, 25], left: [[10, 19]] },
      { removed: [0, 40], left: [] },
    ];
    for (const { removed, left } of cases) {
      const ranges = new RangeSet();
      ranges.add(10, 19);
      ranges.remove(removed[0]!, removed[1]!);
      assert.deepEqual(
        ranges.toIntervals(),
        left.map(([first, last]) => ({ first, last })),
        `without ${removed}`,
      );
    }
    const several = new RangeSet();
    for (const first of [0, 10, 20]) several.add(first, first + 4);
    several.remove(2, 21);
    assert.deepEqual(several.toIntervals(), [
      { first: 0, last: 1 },
      { first: 22, last: 24 },
    ]);
    assert.equal(several.offsetCount, 5);
  });

  it('keeps intervals apart that do not touch, and joins those that do', () => {
    const ranges = new RangeSet();
    ranges.add(1, 2);
    ranges.add(4, 5);
    assert.deepEqual(ranges.toIntervals(), [
      { first: 1, last: 2 },
      { first: 4, last: 5 },
    ]);
    ranges.add(3, 3);
    assert.deepEqual(ranges.toIntervals(), [{ first: 1, last: 5 }]);
  });
});

function compare(ranges: RangeSet, plain: ReadonlySet<number>): void {
  assert.equal(ranges.offsetCount, plain.size);
  const intervals = ranges.toIntervals();
  assert.equal(ranges.intervalCount, intervals.length);
  for (const [i, { first, last }] of intervals.entries()) {
    assert.ok(first <= last);
    if (i > 0) assert.ok(intervals[i - 1]!.last < first - 1, 'intervals touch');
  }
  for (let offset = 0; offset <= maxOffset + 12; offset += 1) {
    assert.equal(ranges.has(offset), plain.has(offset), `has ${offset}`);
    let next = offset;
    while (next <= maxOffset + 12 && !plain.has(next)) next += 1;
    assert.equal(
      ranges.nextFrom(offset),
      next > maxOffset + 12 ? Number.POSITIVE_INFINITY : next,
      `from ${offset}`,
    );
    let absent = offset;
    while (plain.has(absent)) absent += 1;
    assert.equal(ranges.nextAbsent(offset), absent, `absent from ${offset}`);
  }
}
