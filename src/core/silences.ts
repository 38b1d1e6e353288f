import { DeadlineHeap } from '../base/deadline-heap.js';
import { limits } from '../base/limits.js';
import type { Session } from './session.js';
import type { DeliveryPolicy } from './types.js';

/**
 * How long a session whose lease lapsed stays silent if its consumer sends nothing. A live consumer may have nothing
 * to send, because its message was taken back, so it gets messages again after this time. If the consumer hangs, the
 * next lease lapses, too, and each further silence is twice as long.
 */
export function silenceMs({ ackDeadlineMs }: DeliveryPolicy, silenceCount: number): number {
  const first = Math.max(limits.minSilenceMs, limits.silenceLeaseTimes * ackDeadlineMs);
  return Math.min(Math.max(limits.maxSilenceMs, first), first * 2 ** Math.min(silenceCount - 1, 30));
}

/**
 * The silent sessions of a subscription: a lease of theirs lapsed, and their consumers have sent nothing since. A silence
 * ends when the consumer sends something, or when its time is over. The silence of a session whose transport is stuck
 * has no time limit.
 */
export class Silences {
  /** Silences with a time limit. */
  readonly #ends = new DeadlineHeap<Session>();
  /** Silences without a time limit. */
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
