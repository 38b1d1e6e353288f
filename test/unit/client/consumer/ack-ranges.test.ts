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
});
