import assert from 'node:assert/strict';
import fc from 'fast-check';
import { joinedAcks } from '../../../src/core/ack-order.js';
import type { Settlement } from '../../../src/core/types.js';

const ack = (partition: number, first: number, last = first): Settlement => ({
  partition,
  first,
  last,
  outcome: { kind: 'ack' },
});

describe('joinedAcks', () => {
  it('joins what touches, in whatever order it comes, within a partition', () => {
    const joined = joinedAcks([ack(1, 3), ack(0, 4), ack(1, 2), ack(0, 5), ack(0, 7)]);
    assert.deepEqual(joined, [ack(0, 4, 5), ack(0, 7), ack(1, 2, 3)]);
  });

  it('leaves a list alone that has another outcome: its order means something', () => {
    const nack: Settlement = { partition: 0, first: 1, last: 1, outcome: { kind: 'nack' } };
    const settlements = [ack(0, 2), nack, ack(0, 1)];
    assert.equal(joinedAcks(settlements), settlements);
  });

  it('covers the same offsets, by intervals that are ascending and do not touch', () => {
    const one = fc.record({ partition: fc.nat(2), first: fc.nat(40), length: fc.nat(6) });
    fc.assert(
      fc.property(fc.array(one, { minLength: 2, maxLength: 30 }), (ranges) => {
        const settlements = ranges.map(({ partition, first, length }) =>
          ack(partition, first, first + length),
        );
        const joined = joinedAcks(settlements);
        assert.deepEqual(offsetsOf(joined), offsetsOf(settlements));
        for (const [i, next] of joined.entries()) {
          const before = joined[i - 1];
          if (before?.partition === next.partition) assert.ok(before.last + 1 < next.first);
        }
      }),
    );
  });
});

function offsetsOf(settlements: readonly Settlement[]): string[] {
  const offsets = new Set<string>();
  for (const { partition, first, last } of settlements) {
    for (let offset = first; offset <= last; offset += 1) offsets.add(`${partition}@${offset}`);
  }
  return [...offsets].sort();
}
