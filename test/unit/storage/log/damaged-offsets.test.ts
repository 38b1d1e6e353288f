import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DamagedOffsets } from '../../../../src/storage/log/damaged-offsets.js';

describe('damaged offsets', () => {
  it('are the union of what was added', () => {
    const range = fc.record({ firstOffset: fc.nat(40), length: fc.integer({ min: 1, max: 6 }) });
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), (added) => {
        const damaged = new DamagedOffsets();
        const plain = new Set<number>();
        for (const { firstOffset, length } of added) {
          damaged.add({ firstOffset, lastOffset: firstOffset + length - 1, why: 'x' });
          for (let i = 0; i < length; i += 1) plain.add(firstOffset + i);
        }
        for (let offset = 0; offset < 50; offset += 1) compare(damaged, plain, offset);
      }),
    );
  });

  it('keep the newest description', () => {
    const damaged = new DamagedOffsets();
    damaged.add({ firstOffset: 1, lastOffset: 2, why: 'first' });
    damaged.add({ firstOffset: 3, lastOffset: 3, why: 'second' });
    assert.deepEqual(damaged.from(0), { firstOffset: 1, lastOffset: 3, why: 'second' });
  });
});

function compare(damaged: DamagedOffsets, plain: ReadonlySet<number>, offset: number): void {
  const at = damaged.at(offset);
  assert.equal(at !== undefined, plain.has(offset));
  if (at !== undefined) {
    assert.equal(plain.has(at.firstOffset - 1), false, 'a whole range');
    assert.equal(plain.has(at.lastOffset + 1), false);
  }
  let first = offset;
  while (first < 50 && !plain.has(first)) first += 1;
  const next = damaged.from(offset);
  assert.equal(next === undefined ? 50 : Math.max(next.firstOffset, offset), first);
}
