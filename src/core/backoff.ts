import type { DeliveryPolicy } from './types.js';

/** After so many doublings every backoff has reached its maximum. The limit keeps the power finite. */
const maxDoublings = 60;

/**
 * How long a message waits after its failure number `attempts`: the minimum, doubled with every failure, up to the
 * maximum. `chance` from [0, 1) reduces it by up to half, so that messages that fail together are not retried
 * together.
 */
export function backoffMs(policy: DeliveryPolicy, attempts: number, chance: number): number {
  const doubled = policy.minBackoffMs * 2 ** Math.min(attempts - 1, maxDoublings);
  return Math.min(policy.maxBackoffMs, doubled) * (1 - chance / 2);
}
