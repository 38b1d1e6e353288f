import type { DeadLetterOrigin } from '../../envelope/dead-letter-origin.js';

/**
 * The subscription whose dead letters are searched for. A dead-letter topic may hold those of several
 * subscriptions.
 */
export interface DeadLetterOwner {
  readonly topic: string;
  readonly subscription: string;
  readonly subscriptionId: number;
  readonly createTimeMs: number;
}

/**
 * Whether this subscription dead-lettered the message, not an earlier one of the same name. A dead letter without
 * an id belongs to an earlier one if it is older than the subscription.
 */
export function isOwn(origin: DeadLetterOrigin, owner: DeadLetterOwner): boolean {
  if (origin.topic !== owner.topic || origin.subscription !== owner.subscription) return false;
  if (origin.subscriptionId !== undefined) return origin.subscriptionId === owner.subscriptionId;
  return !(origin.timeMs < owner.createTimeMs);
}
