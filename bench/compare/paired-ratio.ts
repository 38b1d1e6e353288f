/** What was measured of the two brokers, one directly after the other. */
export interface Pair {
  readonly tree: number;
  readonly base: number;
}

/** Whether more of what is measured is better (a rate), or less (a latency, processor time). */
export type Better = 'higher' | 'lower';

/** How the working tree compares with its base: above 1 the tree is better. */
export interface PairedRatio {
  readonly pairCount: number;
  readonly median: number;
  /** Bounds of the 95 % interval of the median: 0 and Infinity when there are too few pairs for one. */
  readonly low: number;
  readonly high: number;
}

/**
 * `held`: the tree is at least as good, within the tolerance. `slower`: it is not. `open`: the interval contains the
 * bound, so the measurement does not decide.
 */
export type Verdict = 'held' | 'open' | 'slower';

/** A tree is slower when it has less than this of its base's performance. */
export const heldRatio = 0.97;

const confidence = 0.95;

/**
 * The median of the pairs' ratios, with an interval of order statistics: the k-th smallest and the k-th largest ratio
 * enclose the median of what the pairs are drawn from with at least 95 % probability. That holds for every
 * distribution; it assumes only that the pairs are independent, which is why each pair is two runs in a row.
 */
export function pairedRatio(pairs: readonly Pair[], better: Better): PairedRatio {
  const logRatios = pairs.map((pair) => logRatio(pair, better)).sort((a, b) => a - b);
  const pairCount = logRatios.length;
  if (pairCount === 0) throw new Error('there is no pair to compare');
  const middle = (logRatios[Math.floor((pairCount - 1) / 2)]! + logRatios[Math.floor(pairCount / 2)]!) / 2;
  const rank = intervalRank(pairCount);
  return {
    pairCount,
    median: Math.exp(middle),
    low: rank === 0 ? 0 : Math.exp(logRatios[rank - 1]!),
    high: rank === 0 ? Number.POSITIVE_INFINITY : Math.exp(logRatios[pairCount - rank]!),
  };
}

export function verdictOf({ low, high }: PairedRatio): Verdict {
  if (high < heldRatio) return 'slower';
  return low >= heldRatio ? 'held' : 'open';
}

/**
 * The largest k for which the k-th smallest and the k-th largest of so many samples enclose the median with 95 %
 * probability; 0 when even the smallest and the largest do not. Each sample lies below the median with probability
 * 1/2, so the interval misses when fewer than k samples lie on one side.
 */
export function intervalRank(sampleCount: number): number {
  let rank = 0;
  /** Probability that exactly `rank` samples lie below the median. */
  let probability = 0.5 ** sampleCount;
  /** Probability that at most `rank` samples do. */
  let tail = probability;
  while (1 - 2 * tail >= confidence) {
    rank += 1;
    probability *= (sampleCount - rank + 1) / rank;
    tail += probability;
  }
  return rank;
}

function logRatio({ tree, base }: Pair, better: Better): number {
  if (!(tree > 0 && base > 0)) throw new Error(`cannot compare ${tree} with ${base}: both must be above 0`);
  const ratio = Math.log(tree / base);
  return better === 'higher' ? ratio : -ratio;
}
