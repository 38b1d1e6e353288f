import { limits } from '../base/limits.js';
import type { DeliveryRecord } from './leases.js';
import type { Session } from './session.js';
import type { DeliveryPolicy } from './types.js';

/** How long a delivery may wait for the transport before other sessions get its messages. */
export function transitMs({ ackDeadlineMs }: DeliveryPolicy): number {
  return Math.max(limits.minTransitMs, ackDeadlineMs);
}

/**
 * The deliveries of a subscription whose bytes have not left for the transport, oldest first. A consumer that does not
 * read its stream holds them without a deadline: that is found here, by one look now and then and not by a timer for
 * each delivery.
 */
export class DeliveriesInTransit {
  readonly #records = new Map<number, DeliveryRecord>();
  readonly #moved = new Set<Session>();
  #hasDue = false;
  /** When a look may find something; infinite when there is nothing to find. */
  nextLookMs = Number.POSITIVE_INFINITY;

  add(record: DeliveryRecord, policy: DeliveryPolicy): void {
    this.#records.set(record.id, record);
    record.session.deliveriesInTransit.add(record.id);
    if (this.nextLookMs === Number.POSITIVE_INFINITY) this.nextLookMs = record.leasedAtMs + transitMs(policy);
  }

  /** The bytes of this delivery have left. Undefined if its session has ended. */
  left(deliveryId: number, nowMs: number): DeliveryRecord | undefined {
    const record = this.#records.get(deliveryId);
    if (record === undefined) return undefined;
    const { session } = record;
    this.#records.delete(deliveryId);
    session.deliveriesInTransit.delete(deliveryId);
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
    if (this.#records.size === 0) this.nextLookMs = Number.POSITIVE_INFINITY;
  }

  /** A session may take messages that could not before. */
  canTakeMore(): void {
    if (this.#hasDue) this.nextLookMs = 0;
  }

  /** Stuck sessions whose transport has taken something since the last look. */
  takeMoved(): readonly Session[] {
    const moved = [...this.#moved];
    this.#moved.clear();
    return moved;
  }

  /**
   * Sessions whose deliveries have waited too long, while another session can take the messages. Each delivery makes
   * its session one of them once.
   */
  look(policy: DeliveryPolicy, sessions: Iterable<Session>, nowMs: number): ReadonlySet<Session> {
    const found = new Set<Session>();
    const waitMs = transitMs(policy);
    let able: Set<Session> | undefined;
    this.nextLookMs = Number.POSITIVE_INFINITY;
    this.#hasDue = false;
    for (const record of this.#records.values()) {
      if (record.isTakenBack) continue;
      const dueAtMs = record.leasedAtMs + waitMs;
      if (dueAtMs > nowMs) {
        this.nextLookMs = dueAtMs;
        break;
      }
      able ??= new Set([...sessions].filter((session) => !session.isSilent && !session.isPaused));
      const { session } = record;
      if (able.size > (able.has(session) ? 1 : 0)) {
        record.isTakenBack = true;
        able.delete(session);
        found.add(session);
      } else {
        this.#hasDue = true;
      }
    }
    return found;
  }
}
