import { MiB, secondMs } from '../../src/base/units.js';
import type { Sample } from '../load/samples.js';

/** The bar of flow control. */
export const bar = { growthBytes: 64 * MiB, othersShare: 0.95, recoveryMs: 1 * secondMs } as const;

/** A producer counts as back at this share of its speed before: compactions and the like come at any time. */
const fullSpeedShare = 0.9;
const recoveryWindowMs = 500;

/** Units a second between two times. */
export function rateBetween(samples: readonly Sample[], fromMs: number, untilMs: number): number {
  const inside = samples.filter(({ atMs }) => atMs >= fromMs && atMs <= untilMs);
  const [first, last] = [inside[0], inside.at(-1)];
  if (first === undefined || last === undefined || last.atMs === first.atMs) return 0;
  return ((last.total - first.total) * 1000) / (last.atMs - first.atMs);
}

/** The highest total between two times: for what is no running sum, such as memory. */
export function peakBetween(samples: readonly Sample[], fromMs: number, untilMs: number): number {
  return samples.reduce(
    (peak, { atMs, total }) => (atMs >= fromMs && atMs <= untilMs ? Math.max(peak, total) : peak),
    0,
  );
}

/** How long after `endMs` full speed began: the first half second of it. Infinity: not within the samples. */
export function recoveryMs(samples: readonly Sample[], endMs: number, fullRate: number): number {
  for (const { atMs } of samples) {
    if (atMs < endMs) continue;
    if (rateBetween(samples, atMs, atMs + recoveryWindowMs) >= fullSpeedShare * fullRate) return atMs - endMs;
  }
  return Number.POSITIVE_INFINITY;
}
