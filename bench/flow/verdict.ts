import { MiB, secondMs } from '../../src/base/units.js';
import type { Sample } from '../load/samples.js';

/** The bar of flow control. */
export const bar = { growthBytes: 64 * MiB, othersShare: 0.95, recoveryMs: 1 * secondMs } as const;

/** Half seconds differ, by compactions and the like: at full speed is what is no slower than the slowest tenth of them. */
const slowestShare = 0.1;
const windowMs = 500;

/** Units a second between two times. */
export function rateBetween(samples: readonly Sample[], fromMs: number, untilMs: number): number {
  const inside = samples.filter(({ atMs }) => atMs >= fromMs && atMs <= untilMs);
  const [first, last] = [inside[0], inside.at(-1)];
  if (first === undefined || last === undefined || last.atMs === first.atMs) return 0;
  return ((last.total - first.total) * 1000) / (last.atMs - first.atMs);
}

/** What was beside a trouble, of what was alone. */
export interface Comparison {
  readonly alone: number;
  readonly beside: number;
  readonly share: number;
  /** The standard error of the share, by how much it differed from turn to turn; 0 for a single turn. */
  readonly shareError: number;
}

export function compared(turns: readonly { alone: number; beside: number }[]): Comparison {
  const alone = mean(turns.map((turn) => turn.alone));
  const beside = mean(turns.map((turn) => turn.beside));
  const shares = turns.map((turn) => turn.beside / turn.alone);
  const meanShare = mean(shares);
  const squares = shares.map((share) => (share - meanShare) ** 2);
  const shareError = turns.length > 1 ? Math.sqrt(mean(squares) / (turns.length - 1)) : 0;
  return { alone, beside, share: beside / alone, shareError };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The highest total between two times: for what is no running sum, such as memory. */
export function peakBetween(samples: readonly Sample[], fromMs: number, untilMs: number): number {
  return samples.reduce(
    (peak, { atMs, total }) => (atMs >= fromMs && atMs <= untilMs ? Math.max(peak, total) : peak),
    0,
  );
}

/** The least that counts as full speed, by what was between two times. */
export function fullRate(samples: readonly Sample[], fromMs: number, untilMs: number): number {
  const starts = samples.filter(({ atMs }) => atMs >= fromMs && atMs + windowMs <= untilMs);
  const rates = starts.map(({ atMs }) => rateBetween(samples, atMs, atMs + windowMs)).sort((a, b) => a - b);
  return rates[Math.floor(rates.length * slowestShare)] ?? Number.POSITIVE_INFINITY;
}

/** How long after `endMs` full speed began: the first half second of it. Infinity: not within the samples. */
export function recoveryMs(samples: readonly Sample[], endMs: number, full: number): number {
  const back = samples.find(
    ({ atMs }) => atMs >= endMs && rateBetween(samples, atMs, atMs + windowMs) >= full,
  );
  return back === undefined ? Number.POSITIVE_INFINITY : back.atMs - endMs;
}
