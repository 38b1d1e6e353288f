import type { DeadlineHeap } from '../base/deadline-heap.js';
import { invariant } from '../base/invariant.js';
import type { Interval } from '../base/positions.js';
import { appendInterval } from './intervals.js';
import type { Outbox } from './outbox.js';
import type { Session } from './session.js';
import type { ReadRun } from './types.js';

/** Messages that went out together: they start their deadlines together. */
export interface DeliveryRecord {
  readonly id: number;
  readonly session: Session;
  readonly partition: number;
  readonly first: number;
  last: number;
  /** The bytes have left: the consumer may be at work on it. */
  isSent: boolean;
}

/** What has to be known of the messages of a run for as long as one of them is out. */
export type RunIndex = Pick<ReadRun, 'firstOffset' | 'ends' | 'orderingKeys'>;

/** The ordering key of a message of this run; 0 for none. */
export function orderingKeyAt({ firstOffset, orderingKeys }: RunIndex, offset: number): number {
  return orderingKeys === undefined ? 0 : orderingKeys[offset - firstOffset]!;
}

/** Messages that were held until now. */
export interface Piece extends Interval {
  readonly index: RunIndex;
}

/** Consecutive messages of one delivery, with one deadline. */
export class Lease {
  readonly delivery: DeliveryRecord;
  readonly index: RunIndex;
  first: number;
  last: number;
  /** Infinity until the bytes have left. */
  deadlineMs: number;

  constructor(delivery: DeliveryRecord, index: RunIndex, first: number, last: number, deadlineMs: number) {
    this.delivery = delivery;
    this.index = index;
    this.first = first;
    this.last = last;
    this.deadlineMs = deadlineMs;
  }

  /** Bytes of the messages from `first` to `last`. */
  bytes(first: number, last: number): number {
    const { ends, firstOffset } = this.index;
    const from = first - firstOffset;
    return ends[last - firstOffset]! - (from === 0 ? 0 : ends[from - 1]!);
  }

  get isEmpty(): boolean {
    return this.first > this.last;
  }
}

/** Dropped slots at the front are kept until there are this many, and as many as leases. */
const compactAt = 64;

/**
 * What is outstanding in one partition: leases in order of offset, never overlapping. Whatever enters takes
 * credit from its session, whatever leaves gives it back and makes the session ready for more.
 *
 * Leasing and settling in order touch the ends of one array: settled leases at the front are passed over and
 * swept out together, so that a hundred thousand of them are as cheap as a few.
 */
export class LeaseTable {
  readonly #deadlines: DeadlineHeap<Lease>;
  readonly #outbox: Outbox;
  readonly #leases: Lease[] = [];
  #head = 0;
  #messageCount = 0;

  constructor(deadlines: DeadlineHeap<Lease>, outbox: Outbox) {
    this.#deadlines = deadlines;
    this.#outbox = outbox;
  }

  get messageCount(): number {
    return this.#messageCount;
  }

  add(lease: Lease): void {
    const count = lease.last - lease.first + 1;
    this.#insert(lease);
    this.#messageCount += count;
    lease.delivery.session.take(count, lease.bytes(lease.first, lease.last));
  }

  /** Who has this message. */
  at(offset: number): Lease | undefined {
    const lease = this.#leases[this.#indexAt(offset)];
    return lease !== undefined && lease.first <= offset ? lease : undefined;
  }

  /** The first lease of this session. */
  firstOf(session: Session): Lease | undefined {
    for (let i = this.#head; i < this.#leases.length; i += 1) {
      if (this.#leases[i]!.delivery.session === session) return this.#leases[i];
    }
    return undefined;
  }

  /** Ends the leases from `first` to `last`, of one session or of all. Says what was held: ascending. */
  end(first: number, last: number, session?: Session): Piece[] {
    return this.#cut(first, last, (lease) => session === undefined || lease.delivery.session === session);
  }

  /** Ends the leases of a session that are due. */
  endDue(session: Session, nowMs: number): Piece[] {
    return this.#cut(
      0,
      Number.POSITIVE_INFINITY,
      (lease) => lease.delivery.session === session && lease.deadlineMs <= nowMs,
    );
  }

  /** What is held at and behind `offset`: ascending. */
  *heldFrom(offset: number): Iterable<Piece> {
    for (let i = this.#indexAt(offset); i < this.#leases.length; i += 1) {
      const { first, last, index } = this.#leases[i]!;
      yield { first: Math.max(first, offset), last, index };
    }
  }

  /** Moves the deadlines from `first` to `last` of what the session holds. Says what it holds. */
  extend(first: number, last: number, session: Session, deadlineMs: number): Interval[] {
    this.#splitBefore(first);
    this.#splitBefore(last + 1);
    const held: Interval[] = [];
    for (let i = this.#indexAt(first); i < this.#leases.length; i += 1) {
      const lease = this.#leases[i]!;
      if (lease.first > last) break;
      if (lease.delivery.session !== session) continue;
      appendInterval(held, lease.first, lease.last);
      this.#setDeadline(lease, deadlineMs);
    }
    return held;
  }

  /** The bytes of a delivery have left: what it still holds, and was not extended already, is due then. */
  start(delivery: DeliveryRecord, deadlineMs: number): void {
    for (let i = this.#indexAt(delivery.first); i < this.#leases.length; i += 1) {
      const lease = this.#leases[i]!;
      if (lease.first > delivery.last) break;
      if (lease.delivery !== delivery || lease.deadlineMs !== Number.POSITIVE_INFINITY) continue;
      this.#setDeadline(lease, deadlineMs);
    }
  }

  #cut(first: number, last: number, isWanted: (lease: Lease) => boolean): Piece[] {
    const held: Piece[] = [];
    const start = this.#indexAt(first);
    let stop = start;
    let rest: Lease | undefined;
    for (; stop < this.#leases.length; stop += 1) {
      const lease = this.#leases[stop]!;
      if (lease.first > last) break;
      if (!isWanted(lease)) continue;
      const from = Math.max(first, lease.first);
      const to = Math.min(last, lease.last);
      held.push({ first: from, last: to, index: lease.index });
      this.#giveBack(lease, from, to);
      rest = this.#withoutPart(lease, from, to);
    }
    this.#sweep(start, stop);
    if (rest !== undefined) this.#insert(rest);
    return held;
  }

  #giveBack(lease: Lease, first: number, last: number): void {
    const { session } = lease.delivery;
    const count = last - first + 1;
    session.giveBack(count, lease.bytes(first, last));
    this.#messageCount -= count;
    this.#outbox.ready(session);
  }

  /** Takes a part out of a lease. Says what is left behind the part when something is left before it too. */
  #withoutPart(lease: Lease, first: number, last: number): Lease | undefined {
    if (lease.first === first) {
      lease.first = last + 1;
      if (lease.isEmpty) this.#deadlines.delete(lease);
      return undefined;
    }
    const behind = lease.last;
    lease.last = first - 1;
    if (behind === last) return undefined;
    return new Lease(lease.delivery, lease.index, last + 1, behind, lease.deadlineMs);
  }

  #splitBefore(offset: number): void {
    const lease = this.at(offset);
    if (lease === undefined || lease.first === offset) return;
    const behind = new Lease(lease.delivery, lease.index, offset, lease.last, lease.deadlineMs);
    lease.last = offset - 1;
    this.#insert(behind);
  }

  #setDeadline(lease: Lease, deadlineMs: number): void {
    lease.deadlineMs = deadlineMs;
    this.#deadlines.set(lease, deadlineMs);
  }

  /** Puts a lease into its place, and its deadline into the heap. Its credit has been taken, or is taken next. */
  #insert(lease: Lease): void {
    const last = this.#leases.at(-1);
    if (last === undefined || this.#head === this.#leases.length || last.last < lease.first) {
      this.#leases.push(lease);
    } else {
      const index = this.#indexAt(lease.first);
      invariant(this.#leases[index]!.first > lease.last, `offset ${lease.first} would be leased twice`);
      this.#leases.splice(index, 0, lease);
    }
    this.#deadlines.set(lease, lease.deadlineMs);
  }

  /** The index of the first lease that ends at or after `offset`. */
  #indexAt(offset: number): number {
    let low = this.#head;
    let high = this.#leases.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#leases[middle]!.last < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Drops the empty leases from `start` up to `stop`. */
  #sweep(start: number, stop: number): void {
    let from = start;
    if (from === this.#head) {
      while (from < stop && this.#leases[from]!.isEmpty) from += 1;
      this.#head = from;
    }
    let kept = from;
    for (let i = from; i < stop; i += 1) {
      if (!this.#leases[i]!.isEmpty) this.#leases[kept++] = this.#leases[i]!;
    }
    if (kept < stop) this.#leases.splice(kept, stop - kept);
    if (this.#head === this.#leases.length) this.#leases.length = 0;
    else if (this.#head < compactAt || this.#head * 2 < this.#leases.length) return;
    else this.#leases.splice(0, this.#head);
    this.#head = 0;
  }
}
