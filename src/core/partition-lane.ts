import type { Interval } from '../base/positions.js';
import { type Claim, Lane } from './lane.js';
import type { RunIndex } from './leases.js';
import { RangeSet } from './range-set.js';
import type { Session } from './session.js';
import type { LaneWait } from './wait-causes.js';

/**
 * A lane with one session at a time, in order. When a message comes back, all later ones do too: delivery
 * continues from that message, and skips the messages that were settled in between.
 */
export class PartitionLane extends Lane {
  #owner: Session | undefined;
  #nextOwner: Session | undefined;
  /** Pending messages below are outstanding or being dead-lettered. No message from here on is. */
  #next = this.ledger.acknowledgedOffset;

  get owner(): Session | undefined {
    return this.#owner;
  }

  /** The session that gets the lane once nothing is outstanding in it; the owner itself if the lane stays. */
  get nextOwner(): Session | undefined {
    return this.#nextOwner;
  }

  /** The owner of a lane with another next owner gets no more messages. */
  setNextOwner(nextOwner: Session | undefined): void {
    if (nextOwner === this.#nextOwner) return;
    this.#nextOwner = nextOwner;
    if (nextOwner === this.#owner) this.announce();
  }

  /** The next owner becomes the owner. */
  handOver(): void {
    this.forgetRead();
    this.#owner = this.#nextOwner;
    this.announce();
  }

  offer(session: Session, nowMs: number): number | LaneWait {
    if (session !== this.#owner) return 'notAssigned';
    const offset = this.ledger.nextPending(this.#next);
    if (offset >= this.endOffset) return 'caughtUp';
    if (session !== this.#nextOwner) return 'notAssigned';
    if (this.ledger.retryAtMs(offset) > nowMs) return 'backoff';
    // A suspect is delivered alone.
    return session.outstandingMessages > 0 && this.ledger.isSuspect(offset) ? 'heldBack' : offset;
  }

  /** The next message is a suspect, and could be delivered if the owner held nothing. */
  hasSuspectNext(nowMs: number): boolean {
    if (this.ledger.suspectCount === 0 || this.#owner !== this.#nextOwner) return false;
    const offset = this.ledger.nextPending(this.#next);
    return this.ledger.isSuspect(offset) && this.ledger.retryAtMs(offset) <= nowMs;
  }

  override retry(): void {
    this.announce();
  }

  protected claim(
    session: Session,
    _from: number,
    end: number,
    run: RunIndex,
    nowMs: number,
  ): Claim | undefined {
    const offer = this.offer(session, nowMs);
    if (typeof offer !== 'number' || offer < run.firstOffset || offer >= end) return undefined;
    return { first: offer, end: this.ledger.alikeEnd(offer, end) };
  }

  protected taken(_session: Session, _first: number, last: number): void {
    this.#next = last + 1;
    this.#awaitRetry();
  }

  atWork(session: Session, isSentOnly: boolean): RangeSet {
    const atWork = new RangeSet();
    for (const { first, delivery } of this.leases.heldBy(session)) {
      if (delivery.isSent || !isSentOnly) atWork.add(first, first);
      break;
    }
    return atWork;
  }

  protected ended(): void {}

  protected returned(messages: readonly Interval[]): void {
    this.redeliver(messages[0]!.first);
  }

  protected redeliver(offset: number): void {
    this.leases.revoke(offset, Number.POSITIVE_INFINITY);
    this.#next = Math.min(this.#next, offset);
    this.overtakeRead();
    this.#awaitRetry();
    this.announce();
  }

  protected restart(): void {
    this.#next = this.ledger.acknowledgedOffset;
    this.#awaitRetry();
  }

  protected skipped(): void {
    this.#awaitRetry();
    this.announce();
  }

  announce(): void {
    if (this.#owner !== undefined) this.context.outbox.ready(this.#owner);
  }

  /** Asks for a wake-up at the end of the backoff of the next message. */
  #awaitRetry(): void {
    const retryAtMs = this.ledger.retryAtMs(this.ledger.nextPending(this.#next));
    this.context.retries.set(this, retryAtMs === 0 ? Number.POSITIVE_INFINITY : retryAtMs);
  }
}
