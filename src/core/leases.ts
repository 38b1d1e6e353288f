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

/** A session; `lastDeliveryId` leaves aside what was delivered to it later. */
export interface Holder {
  readonly session: Session;
  readonly lastDeliveryId?: number;
}

function isHeldBy({ delivery }: Lease, { session, lastDeliveryId }: Holder): boolean {
  return delivery.session === session && (lastDeliveryId === undefined || delivery.id <= lastDeliveryId);
}

/** Ended leases are kept in the array until there are this many of them, and as many as others. */
const compactAt = 64;

/**
 * What is outstanding in one partition: leases in order of offset, never overlapping. Whatever enters takes
 * credit from its session, whatever leaves gives it back and makes the session ready for more.
 *
 * A lease that has ended stays where it was, empty, until many are swept out together: so settling any of a
 * hundred thousand is as cheap as settling one of a few. An empty lease keeps its `last`, which lies in no other
 * lease: all of them are in order of `last`.
 */
export class LeaseTable {
  readonly #deadlines: DeadlineHeap<Lease>;
  readonly #outbox: Outbox;
  readonly #leases: Lease[] = [];
  /** Where the first lease that is not empty may be. */
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

  /** Who has this message. */
  at(offset: number): Lease | undefined {
    const lease = this.#leases[this.#indexAt(offset)];
    return lease !== undefined && lease.first <= offset ? lease : undefined;
  }

  /** What this session holds: ascending. */
  *heldBy(session: Session): Iterable<LeaseRange> {
    for (const range of this.heldFrom(0)) if (range.delivery.session === session) yield range;
  }

  /** Ends what the holder itself gives up from `first` to `last`. Says what it held: ascending. */
  end(first: number, last: number, holder: Holder): LeaseRange[] {
    return this.#cut(first, last, (lease) => isHeldBy(lease, holder));
  }

  /** Takes back what is held from `first` to `last`, whoever has it, and tells them. Says what it was: ascending. */
  revoke(first: number, last: number): LeaseRange[] {
    return this.#revoked(this.#cut(first, last, () => true));
  }

  /** Takes back these leases, and tells who had them. */
  revokeAll(leases: readonly Lease[]): LeaseRange[] {
    const inOrder = leases.toSorted((a, b) => a.first - b.first);
    return this.#revoked(
      inOrder.flatMap((ended) => this.#cut(ended.first, ended.last, (lease) => lease === ended)),
    );
  }

  #revoked(ranges: LeaseRange[]): LeaseRange[] {
    for (const { first, last, delivery } of ranges) {
      this.#outbox.revoked(delivery.session, { partition: delivery.partition, first, last });
    }
    return ranges;
  }

  /** What is held at and behind `offset`: ascending. */
  *heldFrom(offset: number): Iterable<LeaseRange> {
    for (let i = this.#indexAt(offset); i < this.#leases.length; i += 1) {
      const { first, last, index, delivery, isEmpty } = this.#leases[i]!;
      if (!isEmpty) yield { first: Math.max(first, offset), last, index, delivery };
    }
  }

  /** Moves the deadlines from `first` to `last` of what the holder has. Says what it has. */
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

  /** The bytes of a delivery have left: what it still holds, and was not extended already, is due then. */
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

  /** Takes a part out of a lease. Says what is left behind the part when something is left before it too. */
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

  /** Puts a lease into its place, and its deadline into the heap. Its credit has been taken, or is taken next. */
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

  /** Passes over the empty leases at the front, and drops all of them when they are many. */
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
