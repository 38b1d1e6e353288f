import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Fifo } from '#client/fifo.js';

describe('Fifo', () => {
  it('does what an array does, however long it lives', () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.nat().map((value) => ({ kind: 'push', value }) as const) },
      { weight: 4, arbitrary: fc.constant({ kind: 'shift' } as const) },
      { weight: 1, arbitrary: fc.constant({ kind: 'remove' } as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { size: 'large', maxLength: 5_000 }), (steps) => {
        const fifo = new Fifo<number>();
        let expected: number[] = [];
        for (const each of steps) {
          if (each.kind === 'push') {
            fifo.push(each.value);
            expected.push(each.value);
          } else if (each.kind === 'shift') {
            assert.equal(fifo.shift(), expected.shift());
          } else {
            const isOdd = (value: number) => value % 2 === 1;
            assert.deepEqual(fifo.removeWhere(isOdd), expected.filter(isOdd));
            expected = expected.filter((value) => !isOdd(value));
          }
          assert.equal(fifo.length, expected.length);
        }
        assert.deepEqual([...fifo], expected);
      }),
      { numRuns: 30 },
    );
  });

  it('gives back what was pushed when many were taken', () => {
    const fifo = new Fifo<number>();
    for (let i = 0; i < 10_000; i++) fifo.push(i);
    for (let i = 0; i < 9_000; i++) assert.equal(fifo.shift(), i);
    fifo.push(10_000);
    assert.equal(fifo.length, 1_001);
    assert.equal(fifo.shift(), 9_000);
    fifo.clear();
    assert.equal(fifo.shift(), undefined);
  });
});
