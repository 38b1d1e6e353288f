import assert from 'node:assert/strict';
import fc from 'fast-check';
import { fittingEnd } from '../../../../src/broker/frames/fitting-end.js';

/** Runs one behind the other, of messages of these sizes. */
function runsOf(firstOffset: number, sizes: readonly (readonly number[])[]) {
  let next = firstOffset;
  return sizes.map((messages) => {
    let end = 0;
    const ends = Uint32Array.from(messages, (bytes) => {
      end += bytes;
      return end;
    });
    const run = { firstOffset: next, count: messages.length, ends };
    next += messages.length;
    return run;
  });
}

describe('fittingEnd', () => {
  it('leaves whole what is not much too large', () => {
    assert.equal(fittingEnd(runsOf(10, [[50, 50], [60]]), 10, 80), Number.POSITIVE_INFINITY);
  });

  it('cuts within a run, behind what fits', () => {
    assert.equal(
      fittingEnd(
        runsOf(10, [
          [50, 50],
          [60, 60, 60],
        ]),
        10,
        120,
      ),
      12,
    );
    assert.equal(
      fittingEnd(
        runsOf(10, [
          [50, 50],
          [60, 60, 60],
        ]),
        11,
        111,
      ),
      13,
    );
  });

  it('lets one message through, however large', () => {
    assert.equal(fittingEnd(runsOf(0, [[1_000, 1]]), 0, 10), 1);
    assert.equal(fittingEnd(runsOf(0, [[1], [1_000, 1]]), 1, 10), 2);
  });

  it('does not count what another subscription is to have', () => {
    const [targeted, own] = runsOf(0, [[5], [5]]);
    const runs = [{ ...targeted!, ends: new Uint32Array(0), isTargetedElsewhere: true }, own!];
    assert.equal(fittingEnd(runs, 0, 3), Number.POSITIVE_INFINITY);
  });

  it('takes as much as fits, and not nothing', () => {
    const sizes = fc.array(fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1 }), { minLength: 1 });
    fc.assert(
      fc.property(sizes, fc.nat(), fc.integer({ min: 1, max: 300 }), (messages, at, maxBytes) => {
        const flat = messages.flat();
        const offset = at % flat.length;
        const end = Math.min(fittingEnd(runsOf(0, messages), offset, maxBytes), flat.length);
        assert.ok(end > offset);
        const bytes = flat.slice(offset, end).reduce((sum, size) => sum + size, 0);
        if (end - offset > 1) assert.ok(bytes <= 2 * maxBytes);
        if (end < flat.length) assert.ok(bytes + flat[end]! > maxBytes);
      }),
    );
  });
});
