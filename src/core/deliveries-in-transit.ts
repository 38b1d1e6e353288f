import { limits } from '../base/limits.js';
import type { DeliveryRecord } from './leases.js';
import type { Session } from './session.js';
import type { DeliveryPolicy } from './types.js';

/**
 * How long the transport of a session may let no delivery leave before other sessions get its messages: twice as long
 * for each time that one of these messages was taken back before.
 */
export function transitMs({ ackDeadlineMs }: DeliveryPolicy, takeBackCount: number): number {
  return Math.max(limits.minTransitMs, ackDeadlineMs) * 2 ** takeBackCount;
}

/** What waits in the transport of one session. */
interface Waiting {
  /** When the oldest delivery was leased, or when another one left since. */
  readonly sinceMs: number;
  takeBackCount: number;
}

/**
 * The deliveries of a subscription whose bytes have not left for the transport, oldest first. A consumer that does not
 * read its stream holds them without a deadline: that is found here, by one look now and then and not by a timer for
 * each delivery.
 *
 * A transport that takes nothing for `transitMs` may be stuck or only slow, and the frame of a slow one leaves too late.
 * Because the wait doubles with each time that a message is taken back, it becomes longer than a slow transport needs:
 * the message then stays until its frame has left.
 */
export class DeliveriesInTransit {
  readonly #records = new Map<number, DeliveryRecord>();
  readonly #moved = new Set<Session>();
  /** Sessions that got credit since the last look. They may have used it up by the next look. */
  readonly #gotCredit = new Set<Session>();
  #hasDue = false;
  /** When a look may find something; infinite when there is nothing to find. */
  nextLookMs = Number.POSITIVE_INFINITY;

  add(record: DeliveryRecord, policy: DeliveryPolicy): void {
    this.#records.set(record.id, record);
    record.session.deliveriesInTransit.add(record.id);
    const dueAtMs = record.leasedAtMs + transitMs(policy, record.takeBackCount);
    if (dueAtMs < this.nextLookMs) this.nextLookMs = dueAtMs;
  }

  /** The bytes of this delivery have left. Undefined if its session has ended. */
  left(deliveryId: number, nowMs: number): DeliveryRecord | undefined {
    const record = this.#records.get(deliveryId);
    if (record === undefined) return undefined;
    const { session } = record;
    this.#records.delete(deliveryId);
    session.deliveriesInTransit.delete(deliveryId);
    session.lastLeftAtMs = nowMs;
    if (session.isStuck) {
      this.#moved.add(session);
      this.nextLookMs = nowMs;
    }
    return record;
  }

  /** The session has ended. */
  forget(session: Session): void {
    for (const deliveryId of session.deliveriesInTransit) this.#records.delete(deliveryId);
    this.#moved.delete(session);
    this.#gotCredit.delete(session);
    if (this.#records.size > 0) return;
    this.#hasDue = false;
    this.nextLookMs = Number.POSITIVE_INFINITY;
  }

  /** The session may take messages, and perhaps could not before. */
  canTakeMore(session: Session): void {
    if (!this.#hasDue || session.isSilent || session.lackOfCredit !== undefined) return;
    this.#gotCredit.add(session);
    this.nextLookMs = 0;
  }

  /** Which sessions can take messages, or how long deliveries may wait, may have changed. */
  lookAgain(): void {
    if (this.#records.size > 0) this.nextLookMs = 0;
  }

  /** Stuck sessions whose transport has taken something since the last look. */
  takeMoved(): readonly Session[] {
    const moved = [...this.#moved];
    this.#moved.clear();
    return moved;
  }

  /**
   * Sessions whose transport has taken nothing for too long, while another session can take the messages. Each
   * delivery makes its session one of them once.
   */
  look(policy: DeliveryPolicy, sessions: Iterable<Session>, nowMs: number): ReadonlySet<Session> {
    const found = new Set<Session>();
    if (nowMs < this.nextLookMs) return found;
    let able: Set<Session> | undefined;
    this.nextLookMs = Number.POSITIVE_INFINITY;
    this.#hasDue = false;
    for (const [session, { sinceMs, takeBackCount }] of this.#waiting()) {
      const dueAtMs = sinceMs + transitMs(policy, takeBackCount);
      if (dueAtMs > nowMs) {
        this.nextLookMs = Math.min(this.nextLookMs, dueAtMs);
        continue;
      }
      able ??= new Set([...sessions].filter((each) => this.#isAble(each)));
      if (able.size > (able.has(session) ? 1 : 0)) {
        for (const deliveryId of session.deliveriesInTransit)
          this.#records.get(deliveryId)!.isTakenBack = true;
        able.delete(session);
        found.add(session);
      } else {
        this.#hasDue = true;
      }
    }
    this.#gotCredit.clear();
    return found;
  }

  /** Deliveries of one session leave one after the other: when one leaves, the wait of the next one begins. */
  #waiting(): Map<Session, Waiting> {
    const waiting = new Map<Session, Waiting>();
    for (const { isTakenBack, session, leasedAtMs, takeBackCount } of this.#records.values()) {
      if (isTakenBack) continue;
      const other = waiting.get(session);
      if (other !== undefined) other.takeBackCount = Math.max(other.takeBackCount, takeBackCount);
      else waiting.set(session, { sinceMs: Math.max(leasedAtMs, session.lastLeftAtMs), takeBackCount });
    }
    return waiting;
  }

  /** A session whose credit is always used up at once gets credit again and again, and can take messages. */
  #isAble(session: Session): boolean {
    if (session.isSilent || session.isPaused) return false;
    return session.lackOfCredit === undefined || this.#gotCredit.has(session);
  }
}
