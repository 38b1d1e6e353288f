import type { DeliveryPolicy } from './types.js';

/** Doublings after which every backoff has long reached its maximum: keeps the power finite. */
const maxDoublings = 60;

/**
 * How long a message waits after it failed for the `attempts`th time: the minimum, doubled with every failure up
 * to the maximum. `chance` from [0, 1) takes up to half of it, so that what failed together does not come back
 * together.
 */
export function backoffMs(policy: DeliveryPolicy, attempts: number, chance: number): number {
  const doubled = policy.minBackoffMs * 2 ** Math.min(attempts - 1, maxDoublings);
  return Math.min(policy.maxBackoffMs, doubled) * (1 - chance / 2);
}
