import { DeadlineHeap } from '../base/deadline-heap.js';
import { limits } from '../base/limits.js';
import type { Session } from './session.js';
import type { DeliveryPolicy } from './types.js';

/**
 * How long a session whose lease lapsed stays silent if its consumer sends nothing. A live consumer may have
 * nothing to send, because its message was taken back: it gets work again after this time. A consumer that hangs
 * costs one lease time at longer and longer intervals.
 */
export function silenceMs({ ackDeadlineMs }: DeliveryPolicy, silenceCount: number): number {
  const first = Math.max(limits.minSilenceMs, limits.silenceLeaseTimes * ackDeadlineMs);
  return Math.min(Math.max(limits.maxSilenceMs, first), first * 2 ** Math.min(silenceCount - 1, 30));
}

/** The silent sessions of a subscription, by the time when their silence ends without a sign of life. */
export class Silences {
  readonly #ends = new DeadlineHeap<Session>();
  readonly #held = new Set<Session>();

  get count(): number {
    return this.#ends.size + this.#held.size;
  }

  get nextEndMs(): number {
    return this.#ends.nextAtMs;
  }

  /** A lease of the session has lapsed. Returns whether the session was not silent before. */
  begin(session: Session, policy: DeliveryPolicy, nowMs: number): boolean {
    if (session.isSilent) return false;
    session.isSilent = true;
    session.silenceCount += 1;
    this.#ends.set(session, nowMs + silenceMs(policy, session.silenceCount));
    return true;
  }

  /** The transport of the session is stuck: the silence lasts until `end`. */
  hold(session: Session): void {
    session.isStuck = true;
    session.isSilent = true;
    this.#ends.delete(session);
    this.#held.add(session);
  }

  /** The consumer has sent something, or the session has ended. Returns whether it was silent. */
  end(session: Session): boolean {
    session.silenceCount = 0;
    if (!session.isSilent) return false;
    session.isSilent = false;
    session.isStuck = false;
    this.#ends.delete(session);
    this.#held.delete(session);
    return true;
  }

  /** Ends the first silence that is due. */
  endDue(nowMs: number): Session | undefined {
    const session = this.#ends.popDue(nowMs);
    if (session !== undefined) session.isSilent = false;
    return session;
  }
}
