import type { DeadlineHeap } from '../base/deadline-heap.js';
import { invariant } from '../base/invariant.js';
import type { Interval } from '../base/positions.js';
import { appendInterval } from './intervals.js';
import type { Outbox } from './outbox.js';
import type { Session } from './session.js';
import type { LeasedRun, ReadRun } from './types.js';

/** Messages that went out together: their deadlines start together. */
export interface DeliveryRecord {
  readonly id: number;
  readonly session: Session;
  readonly partition: number;
  readonly first: number;
  last: number;
  /** The bytes have left: the consumer may be working on the messages. */
  isSent: boolean;
  readonly leasedAtMs: number;
  /** How often one of its messages was taken back before, since a consumer last got that message. */
  takeBackCount: number;
  /** Its bytes waited too long for the transport: other sessions get its messages. */
  isTakenBack: boolean;
}

/** The part of a run that is needed while one of its messages is outstanding. */
export type RunIndex = Pick<ReadRun, 'firstOffset' | 'ends' | 'orderingKeys'>;

/** The ordering key of a message of this run; 0 for none. */
export function orderingKeyAt({ firstOffset, orderingKeys }: RunIndex, offset: number): number {
  return orderingKeys === undefined ? 0 : orderingKeys[offset - firstOffset]!;
}

/** Messages that a session holds, or held until now: part of a lease. */
export interface LeaseRange extends Interval {
  readonly index: RunIndex;
  /** The delivery that brought them. */
  readonly delivery: DeliveryRecord;
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

/** A session. With `lastDeliveryId`, only its deliveries up to that one. */
export interface Holder {
  readonly session: Session;
  readonly lastDeliveryId?: number;
}

function isHeldBy({ delivery }: Lease, { session, lastDeliveryId }: Holder): boolean {
  return delivery.session === session && (lastDeliveryId === undefined || delivery.id <= lastDeliveryId);
}

/** Ended leases stay in the array until there are this many, and as many as other leases. */
const compactAt = 64;

/**
 * The outstanding messages of one partition: leases in order of offset, never overlapping. A lease that is added
 * takes credit from its session. A lease that ends gives it back, and calls the session ready for more.
 *
 * An ended lease stays in its place, empty, until many are removed together: settling one of a hundred thousand
 * costs as little as settling one of a few. An empty lease keeps its `last`, which lies in no other lease: all
 * leases are in order of `last`.
 */
export class LeaseTable {
  readonly #deadlines: DeadlineHeap<Lease>;
  readonly #outbox: Outbox;
  readonly #leases: Lease[] = [];
  /** The index of the first lease that may not be empty. */
  #head = 0;
  #emptyCount = 0;
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

  /** The lease of this message. */
  at(offset: number): Lease | undefined {
    const lease = this.#leases[this.#indexAt(offset)];
    return lease !== undefined && lease.first <= offset ? lease : undefined;
  }

  /** What this session holds: ascending. */
  *heldBy(session: Session): Iterable<LeaseRange> {
    for (const range of this.heldFrom(0)) if (range.delivery.session === session) yield range;
  }

  /** Ends what the holder itself gives up from `first` to `last`. Returns what it held: ascending. */
  end(first: number, last: number, holder: Holder): LeaseRange[] {
    return this.#cut(first, last, (lease) => isHeldBy(lease, holder));
  }

  /**
   * Revokes everything held from `first` to `last` and tells the sessions. Returns what was revoked: ascending.
   */
  revoke(first: number, last: number): LeaseRange[] {
    return this.#revoked(this.#cut(first, last, () => true));
  }

  /** Revokes these leases and tells their sessions. */
  revokeAll(leases: readonly Lease[]): LeaseRange[] {
    const inOrder = leases.toSorted((a, b) => a.first - b.first);
    return this.#revoked(
      inOrder.flatMap((ended) => this.#cut(ended.first, ended.last, (lease) => lease === ended)),
    );
  }

  /** Revokes what has not left for the transport of this session, and tells it. Returns what that was: ascending. */
  revokeUnsent(session: Session): LeaseRange[] {
    const isUnsent = ({ delivery }: Lease) => delivery.session === session && !delivery.isSent;
    return this.#revoked(this.#cut(0, Number.POSITIVE_INFINITY, isUnsent));
  }

  #revoked(ranges: LeaseRange[]): LeaseRange[] {
    for (const { first, last, delivery } of ranges) {
      this.#outbox.revoked(delivery.session, { partition: delivery.partition, first, last });
    }
    return ranges;
  }

  /** Everything held at and after `offset`: ascending. */
  *heldFrom(offset: number): Iterable<LeaseRange> {
    for (let i = this.#indexAt(offset); i < this.#leases.length; i += 1) {
      const { first, last, index, delivery, isEmpty } = this.#leases[i]!;
      if (!isEmpty) yield { first: Math.max(first, offset), last, index, delivery };
    }
  }

  /** Moves the deadlines of what the holder has from `first` to `last`. Returns what it has. */
  extend(first: number, last: number, holder: Holder, deadlineMs: number): Interval[] {
    this.#splitBefore(first);
    this.#splitBefore(last + 1);
    const held: Interval[] = [];
    for (let i = this.#indexAt(first); i < this.#leases.length; i += 1) {
      const lease = this.#leases[i]!;
      if (lease.first > last) break;
      if (lease.isEmpty || !isHeldBy(lease, holder)) continue;
      appendInterval(held, lease.first, lease.last);
      this.#setDeadline(lease, deadlineMs);
    }
    return held;
  }

  /**
   * The bytes of a delivery have left: starts the deadlines of its messages that are still held and were not
   * extended.
   */
  start(delivery: DeliveryRecord, deadlineMs: number): void {
    for (let i = this.#indexAt(delivery.first); i < this.#leases.length; i += 1) {
      const lease = this.#leases[i]!;
      if (lease.first > delivery.last) break;
      const isToStart = lease.delivery === delivery && lease.deadlineMs === Number.POSITIVE_INFINITY;
      if (lease.isEmpty || !isToStart) continue;
      this.#setDeadline(lease, deadlineMs);
    }
  }

  #cut(first: number, last: number, isWanted: (lease: Lease) => boolean): LeaseRange[] {
    const held: LeaseRange[] = [];
    let rest: Lease | undefined;
    for (let i = this.#indexAt(first); i < this.#leases.length; i += 1) {
      const lease = this.#leases[i]!;
      if (lease.first > last) break;
      if (lease.isEmpty || !isWanted(lease)) continue;
      const from = Math.max(first, lease.first);
      const to = Math.min(last, lease.last);
      held.push({ first: from, last: to, index: lease.index, delivery: lease.delivery });
      this.#giveBack(lease, from, to);
      rest = this.#withoutPart(lease, from, to);
    }
    if (this.#emptyCount > 0) this.#sweep();
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

  /** Takes a part out of a lease. Returns the rest behind the part if there is also a rest before it. */
  #withoutPart(lease: Lease, first: number, last: number): Lease | undefined {
    if (lease.first === first) {
      lease.first = last + 1;
      if (lease.isEmpty) {
        this.#deadlines.delete(lease);
        this.#emptyCount += 1;
      }
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

  /**
   * Puts a lease into its place, and its deadline into the heap. Its credit has been taken, or will be taken next.
   */
  #insert(lease: Lease): void {
    const index = this.#indexAt(lease.first);
    let next = index;
    while (this.#leases[next]?.isEmpty && this.#leases[next]!.last <= lease.last) next += 1;
    const isFree = next === this.#leases.length || this.#leases[next]!.first > lease.last;
    invariant(isFree, `offset ${lease.first} would be leased twice`);
    if (next === this.#leases.length && next === index) this.#leases.push(lease);
    else this.#leases.splice(index, next - index, lease);
    this.#emptyCount -= next - index;
    this.#deadlines.set(lease, lease.deadlineMs);
  }

  /** The index of the first lease, empty or not, that ends at or after `offset`. */
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

  /** Skips the empty leases at the front, and removes all empty leases when there are many. */
  #sweep(): void {
    while (this.#leases[this.#head]?.isEmpty) this.#head += 1;
    const isManyEmpty = this.#emptyCount >= compactAt && this.#emptyCount * 2 >= this.#leases.length;
    if (this.#emptyCount < this.#leases.length && !isManyEmpty) return;
    let kept = 0;
    for (const lease of this.#leases) if (!lease.isEmpty) this.#leases[kept++] = lease;
    this.#leases.length = kept;
    this.#head = 0;
    this.#emptyCount = 0;
  }
}

/** Appends messages of a run. Extends the last range if they touch. */
export function appendLeased(
  leased: LeasedRun[],
  run: number,
  from: number,
  to: number,
  attempt: number,
): void {
  const previous = leased.at(-1);
  if (previous?.run === run && previous.to === from && previous.attempt === attempt) {
    leased[leased.length - 1] = { ...previous, to };
  } else {
    leased.push({ run, from, to, attempt });
  }
}
