import assert from 'node:assert/strict';
import fc from 'fast-check';
import { OffsetMap } from '../../../src/core/offset-map.js';

const offset = fc.integer({ min: 0, max: 300 });
const command = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('set' as const), first: offset, last: offset }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), first: offset, last: offset }) },
  // As the messages of a partition go: added at the end, removed at the front.
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('front' as const), first: offset, last: offset }) },
);

describe('OffsetMap', () => {
  it('holds what a map of all offsets holds, in order', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
        const subject = new OffsetMap<string>();
        const reference = new Map<number, string>();
        const ascending = () => [...reference.keys()].sort((a, b) => a - b);
        for (const [i, { kind, first, last }] of commands.entries()) {
          if (kind === 'set') {
            for (let each = first; each <= Math.min(last, first + 40); each += 1) {
              subject.set(each, `${i}-${each}`);
              reference.set(each, `${i}-${each}`);
            }
          } else {
            const from = kind === 'front' ? 0 : first;
            const gone = ascending().filter((each) => each >= from && each <= last);
            assert.equal(subject.deleteRange(from, last), gone.length);
            for (const each of gone) reference.delete(each);
          }
          assert.equal(subject.size, reference.size);
          assert.equal(subject.get(first), reference.get(first));
          assert.equal(subject.nextFrom(first), ascending().find((each) => each >= first) ?? Infinity);
          assert.deepEqual(
            subject.map((each, value) => [each, value]),
            ascending().map((each) => [each, reference.get(each)]),
          );
        }
        subject.clear();
        assert.equal(subject.size, 0);
        assert.equal(subject.nextFrom(0), Infinity);
      }),
    );
  });
});
