import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AckRanges } from '#client/consumer/ack-ranges.js';

describe('AckRanges', () => {
  it('are as few as there can be, and exactly what was acknowledged', () => {
    const place = fc.record({ partition: fc.nat(2), offset: fc.nat(60) });
    fc.assert(
      fc.property(
        fc.uniqueArray(place, { selector: (each) => each.partition * 100 + each.offset }),
        (places) => {
          const acks = new AckRanges();
          for (const { partition, offset } of places) acks.add(partition, offset);
          assert.equal(acks.count, places.length);
          const covered = new Set<string>();
          const ends = new Set<string>();
          const ranges = acks.take();
          for (const { partition, first, last } of ranges) {
            for (let offset = first; offset <= last; offset++) covered.add(`${partition}/${offset}`);
            ends.add(`${partition}/${last + 1}`);
          }
          assert.deepEqual(
            [...covered].sort(),
            places.map((each) => `${each.partition}/${each.offset}`).sort(),
          );
          assert(
            ranges.every(({ partition, first }) => !ends.has(`${partition}/${first}`)),
            'two touch each other',
          );
          assert.equal(acks.count, 0);
          assert.deepEqual(acks.take(), []);
        },
      ),
    );
  });

  it('forget what is removed, and nothing else', () => {
    const range = fc.tuple(fc.nat(60), fc.nat(20)).map(([first, length]) => [first, first + length] as const);
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(60)), fc.array(range, { maxLength: 5 }), (offsets, removed) => {
        const acks = new AckRanges();
        for (const offset of offsets) acks.add(0, offset);
        acks.add(1, 5);
        for (const [first, last] of removed) acks.remove({ partition: 0, first, last });
        const kept = offsets.filter(
          (each) => !removed.some(([first, last]) => first <= each && each <= last),
        );
        assert.equal(acks.count, kept.length + 1);
        const found: number[] = [];
        for (const { partition, first, last } of acks.take()) {
          for (let offset = first; partition === 0 && offset <= last; offset++) found.push(offset);
        }
        assert.deepEqual(
          found,
          kept.sort((a, b) => a - b),
        );
      }),
    );
  });
});
