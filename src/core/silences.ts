import { DeadlineHeap } from '../base/deadline-heap.js';
import { limits } from '../base/limits.js';
import type { Session } from './session.js';
import type { DeliveryPolicy } from './types.js';

/**
 * How long a session is passed over that let a lease lapse, if nothing is heard of it. A consumer that lives, and has
 * nothing to say because its message was taken back, has work again after a time. One that hangs costs one lease time
 * at ever longer intervals.
 */
export function silenceMs({ ackDeadlineMs }: DeliveryPolicy, silenceCount: number): number {
  const first = Math.max(limits.minSilenceMs, limits.silenceLeaseTimes * ackDeadlineMs);
  return Math.min(Math.max(limits.maxSilenceMs, first), first * 2 ** Math.min(silenceCount - 1, 30));
}

/** The silent sessions of a subscription, by when their silence ends although nothing was heard of them. */
export class Silences {
  readonly #ends = new DeadlineHeap<Session>();

  get count(): number {
    return this.#ends.size;
  }

  get nextEndMs(): number {
    return this.#ends.nextAtMs;
  }

  /** A lease of the session has lapsed. Says whether it was not silent before. */
  begin(session: Session, policy: DeliveryPolicy, nowMs: number): boolean {
    if (session.isSilent) return false;
    session.isSilent = true;
    session.silenceCount += 1;
    this.#ends.set(session, nowMs + silenceMs(policy, session.silenceCount));
    return true;
  }

  /** Something was heard of the session, or it has ended. Says whether it was silent. */
  end(session: Session): boolean {
    session.silenceCount = 0;
    if (!session.isSilent) return false;
    session.isSilent = false;
    this.#ends.delete(session);
    return true;
  }

  /** Ends the first silence that is over by now. */
  endDue(nowMs: number): Session | undefined {
    const session = this.#ends.popDue(nowMs);
    if (session !== undefined) session.isSilent = false;
    return session;
  }
}
