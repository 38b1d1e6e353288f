import assert from 'node:assert/strict';
import { createRandom } from '../../src/base/random.js';
import { intervalRank, type Pair, pairedRatio, verdictOf } from './paired-ratio.js';

const pairsOf = (ratios: readonly number[]): Pair[] =>
  ratios.map((ratio) => ({ tree: 100 * ratio, base: 100 }));
const near = (actual: number, expected: number) =>
  assert.ok(Math.abs(actual - expected) < 1e-9, `${actual}, expected ${expected}`);

describe('the ratio of pairs', () => {
  it('takes its interval from the ranks that enclose the median with 95 % probability', () => {
    // From tables of the sign test.
    const ranks = [1, 5, 6, 8, 9, 10, 12, 15, 20, 25].map((count) => [count, intervalRank(count)]);
    assert.deepEqual(ranks, [
      [1, 0],
      [5, 0],
      [6, 1],
      [8, 1],
      [9, 2],
      [10, 2],
      [12, 3],
      [15, 4],
      [20, 6],
      [25, 8],
    ]);
  });

  it('is the median of the pairs, in any order, between the second and the second last of ten', () => {
    const { median, low, high } = pairedRatio(
      pairsOf([1.1, 0.9, 1.05, 0.5, 1.0, 1.02, 0.98, 2.0, 0.95, 1.01]),
      'higher',
    );
    near(median, Math.sqrt(1.0 * 1.01));
    near(low, 0.9);
    near(high, 1.1);
  });

  it('turns round where less is better', () => {
    const { median, low, high } = pairedRatio(pairsOf([2, 2, 2, 2, 4, 1]), 'lower');
    near(median, 0.5);
    near(low, 0.25);
    near(high, 1);
  });

  it('compares within each pair, so that a machine that becomes slower does not count', () => {
    const pairs = Array.from({ length: 10 }, (_, i) => ({ tree: 1000 / (i + 1), base: 1000 / (i + 1) }));
    assert.deepEqual(pairedRatio(pairs, 'higher'), { pairCount: 10, median: 1, low: 1, high: 1 });
  });

  it('has no interval, and so decides nothing, with fewer than six pairs', () => {
    const ratio = pairedRatio(pairsOf([0.1, 0.1, 0.1, 0.1, 0.1]), 'higher');
    near(ratio.median, 0.1);
    assert.equal(ratio.low, 0);
    assert.equal(ratio.high, Number.POSITIVE_INFINITY);
    assert.equal(verdictOf(ratio), 'open');
  });

  it('is slower only where the whole interval lies below 0.97', () => {
    const verdict = (low: number, high: number) => verdictOf({ pairCount: 10, median: low, low, high });
    assert.equal(verdict(0.9, 0.9699), 'slower');
    assert.equal(verdict(0.9, 0.97), 'open');
    assert.equal(verdict(0.5, 1.2), 'open');
    assert.equal(verdict(0.97, 1.2), 'held');
  });

  it('encloses the true ratio in 95 of 100 comparisons or more, however the noise is distributed', () => {
    const random = createRandom(1);
    const trueRatio = 0.96;
    let enclosed = 0;
    const comparisons = 2_000;
    for (let i = 0; i < comparisons; i += 1) {
      // Symmetric around the median, and with a heavy tail.
      const noise = () => Math.exp(0.05 * Math.tan((random.next() - 0.5) * 3));
      const { low, high } = pairedRatio(
        pairsOf(Array.from({ length: 10 }, () => trueRatio * noise())),
        'higher',
      );
      if (low <= trueRatio && trueRatio <= high) enclosed += 1;
    }
    assert.ok(enclosed >= 0.95 * comparisons, `${enclosed} of ${comparisons}`);
    assert.ok(enclosed < comparisons, 'an interval that always encloses decides nothing');
  });

  it('refuses a measurement that is no number above 0', () => {
    assert.throws(() => pairedRatio([{ tree: 0, base: 1 }], 'higher'), /above 0/);
    assert.throws(() => pairedRatio([{ tree: 1, base: Number.NaN }], 'higher'), /above 0/);
    assert.throws(() => pairedRatio([], 'higher'), /no pair/);
  });
});
