import { DeadlineHeap } from '../base/deadline-heap.js';
import type { CursorState, Interval } from '../base/positions.js';
import type { IdleSessions } from './idle-sessions.js';
import { KeyQueue, KeyQueues } from './key-queues.js';
import { type Claim, Lane, type LaneContext } from './lane.js';
import { type LeaseRange, orderingKeyAt, type RunIndex } from './leases.js';
import { RangeSet } from './range-set.js';
import type { Session } from './session.js';
import type { LaneWait } from './wait-causes.js';

/**
 * A lane that all sessions share. The frontier only moves forward: messages below it are outstanding, came back,
 * or wait for their key. Ordering NONE is ordering KEY without keys.
 */
export class SharedLane extends Lane {
  readonly owner = undefined;
  readonly #idleSessions: IdleSessions;
  /** Pending messages below the frontier that any session may have. */
  readonly #free = new RangeSet();
  /** Suspects below the frontier. A session may take one only if it holds nothing else. */
  readonly #freeSuspects = new RangeSet();
  /** Backoffs under way: of messages without a key, and of keys whose first message waits. */
  readonly #waiting = new DeadlineHeap<KeyQueue | Interval>();
  readonly #keys: KeyQueues;
  #frontier = this.ledger.acknowledgedOffset;
  /** How many messages any session may have, as last reported to the idle sessions. */
  #availableCount = 0;
  /** How many of those the session that is served now may still take. */
  #allowance = Number.POSITIVE_INFINITY;

  constructor(
    context: LaneContext,
    partition: number,
    cursor: CursorState,
    endOffset: number,
    idleSessions: IdleSessions,
  ) {
    super(context, partition, cursor, endOffset);
    this.#idleSessions = idleSessions;
    const free = { others: this.#free, suspects: this.#freeSuspects };
    this.#keys = new KeyQueues(free, this.#waiting, this.ledger, context.outbox);
  }

  get freeSuspectCount(): number {
    return this.#freeSuspects.offsetCount;
  }

  offer(session: Session): number | LaneWait {
    const isEmpty = session.outstandingMessages === 0;
    if (isEmpty && this.#freeSuspects.offsetCount > 0) return this.#freeSuspects.nextFrom(0);
    const reserved = this.#keys.reservedFor(session)?.nextFrom(0) ?? Number.POSITIVE_INFINITY;
    const shared = Math.min(this.#free.nextFrom(0), this.#nextNew ?? Number.POSITIVE_INFINITY);
    if (shared !== Number.POSITIVE_INFINITY) {
      if (this.#idleSessions.shareOf(session) > 0) return Math.min(shared, reserved);
      if (reserved === Number.POSITIVE_INFINITY) return 'othersFirst';
    }
    if (reserved !== Number.POSITIVE_INFINITY) return reserved;
    if (this.#waiting.size > 0) return 'backoff';
    const hasOthers = this.#keys.deferredCount > 0 || this.#freeSuspects.offsetCount > 0;
    return hasOthers ? 'notAssigned' : 'caughtUp';
  }

  announce(): void {
    this.#countAvailable();
    // During a read no other session can read the lane. The end of the read announces what is left.
    if (this.isReading) return;
    for (const session of this.#keys.reservedSessions) {
      // A session without credit would only wait, and what it leaves would be announced to it again, without end.
      if (session.lackOfCredit === undefined) this.context.outbox.ready(session);
    }
    const hasFree = this.#free.offsetCount + this.#freeSuspects.offsetCount > 0;
    if (hasFree || this.#nextNew !== undefined) this.#idleSessions.wakeOne();
  }

  override retry(nowMs: number): void {
    for (let due = this.#waiting.popDue(nowMs); due !== undefined; due = this.#waiting.popDue(nowMs)) {
      if (due instanceof KeyQueue) this.#keys.retry(due, nowMs);
      else this.#setFree(due.first, due.last);
    }
    this.#awaitRetry();
    this.announce();
  }

  protected override serve(session: Session): void {
    this.#allowance = this.#idleSessions.shareOf(session);
  }

  protected claim(
    session: Session,
    from: number,
    end: number,
    run: RunIndex,
    nowMs: number,
  ): Claim | undefined {
    if (session.outstandingMessages === 0) {
      const suspect = this.#freeSuspects.nextFrom(from);
      if (suspect < end) return { first: suspect, end: suspect + 1 };
    }
    const reserved = this.#keys.reservedFor(session);
    const reservedOpen = reserved?.nextFrom(from) ?? Number.POSITIVE_INFINITY;
    const freeOpen = this.#allowance > 0 ? this.#free.nextFrom(from) : Number.POSITIVE_INFINITY;
    // Only this session can have its reserved messages, so other sessions lose nothing.
    if (reservedOpen < Math.min(freeOpen, end)) {
      const reservedEnd = Math.min(end, reserved!.nextAbsent(reservedOpen));
      return { first: reservedOpen, end: this.ledger.alikeEnd(reservedOpen, reservedEnd) };
    }
    if (this.#allowance <= 0) return undefined;
    if (freeOpen >= end) return this.#claimNew(session, end, run, nowMs);
    const freeEnd = Math.min(end, this.#free.nextAbsent(freeOpen));
    return this.#allowed(freeOpen, this.ledger.alikeEnd(freeOpen, freeEnd));
  }

  protected taken(session: Session, first: number, last: number, run: RunIndex, nowMs: number): void {
    const isNew = first >= this.#frontier;
    if (isNew) this.#frontier = last + 1;
    this.#allowance -= last - first + 1;
    if (run.orderingKeys === undefined) {
      if (!isNew) this.#setOf(first).remove(first, last);
    } else {
      for (let offset = first; offset <= last; offset += 1) {
        const key = orderingKeyAt(run, offset);
        if (key !== 0) this.#keys.take(key, offset, session, nowMs);
        else if (!isNew) this.#setOf(offset).remove(offset, offset);
      }
      this.#awaitRetry();
    }
    this.#countAvailable();
  }

  atWork(session: Session, isSentOnly: boolean): RangeSet {
    const atWork = new RangeSet();
    const keys = new Set<number>();
    for (const lease of this.leases.heldBy(session)) {
      const { first, last, index, delivery } = lease;
      const isCounted = delivery.isSent || !isSentOnly;
      if (index.orderingKeys !== undefined) addFirstOfKeys(lease, keys, isCounted ? atWork : undefined);
      else if (isCounted) atWork.add(first, last);
    }
    return atWork;
  }

  protected ended(messages: readonly LeaseRange[]): void {
    for (const { first, last, index } of messages) {
      if (index.orderingKeys === undefined) continue;
      for (let offset = first; offset <= last; offset += 1) {
        const key = orderingKeyAt(index, offset);
        if (key !== 0) this.#keys.end(key);
      }
    }
    this.announce();
  }

  protected returned(messages: readonly LeaseRange[], nowMs: number): void {
    const byKey = new Map<number, number[]>();
    for (const { first, last, index } of messages) {
      if (index.orderingKeys === undefined) {
        this.#comeBack(first, last, nowMs);
        continue;
      }
      for (let offset = first; offset <= last; offset += 1) {
        const key = orderingKeyAt(index, offset);
        if (key === 0) this.#comeBack(offset, offset, nowMs);
        else push(byKey, key, offset);
      }
    }
    this.#comeBackInOrder(byKey, nowMs);
  }

  protected redeliver(offset: number, orderingKey: number, nowMs: number): void {
    if (offset >= this.#frontier) {
      this.announce();
      return;
    }
    // The message has no key, or its key is unknown. In the second case other messages of the key have already
    // passed it, and its order no longer matters.
    if (orderingKey === 0) this.#comeBack(offset, offset, nowMs);
    this.#comeBackInOrder(new Map(orderingKey === 0 ? [] : [[orderingKey, [offset]]]), nowMs);
  }

  protected restart(): void {
    this.#keys.clear();
    this.#free.clear();
    this.#freeSuspects.clear();
    this.#waiting.clear();
    this.#frontier = this.ledger.acknowledgedOffset;
    this.#awaitRetry();
  }

  protected skipped(): void {
    this.#keys.dropBelow(this.ledger.acknowledgedOffset);
    this.#free.remove(0, this.ledger.acknowledgedOffset - 1);
    this.#freeSuspects.remove(0, this.ledger.acknowledgedOffset - 1);
    this.#awaitRetry();
    this.announce();
  }

  /** The first message at the frontier. Undefined if there is none, or if too many messages wait before it. */
  get #nextNew(): number | undefined {
    const next = this.ledger.nextPending(this.#frontier);
    return next < this.endOffset && this.#keys.hasRoom ? next : undefined;
  }

  /** The set for a message that any session may have. */
  #setOf(offset: number): RangeSet {
    return this.ledger.isSuspect(offset) ? this.#freeSuspects : this.#free;
  }

  #allowed(first: number, end: number): Claim {
    return { first, end: Math.min(end, first + this.#allowance) };
  }

  /** Reports to the idle sessions how many messages any of them may have. */
  #countAvailable(): void {
    const next = this.#nextNew;
    const unread = Math.min(
      next === undefined ? 0 : this.endOffset - next,
      this.ledger.backlog(this.endOffset) - this.leases.messageCount,
    );
    const count = this.#free.offsetCount + unread;
    this.#idleSessions.availableCount += count - this.#availableCount;
    this.#availableCount = count;
  }

  /** Moves the frontier over messages that have to wait, up to one that the session may have. */
  #claimNew(session: Session, end: number, run: RunIndex, nowMs: number): Claim | undefined {
    for (let next = this.#nextNew; next !== undefined && next < end; next = this.#nextNew) {
      // Not over a gap between the frontier and the run.
      if (next < run.firstOffset) return undefined;
      const key = orderingKeyAt(run, next);
      const isWaiting = this.ledger.retryAtMs(next) > nowMs;
      if (!isWaiting && (key === 0 || this.#keys.mayTake(key, session))) {
        return this.#allowed(next, this.#newEnd(session, next, end, run));
      }
      this.#frontier = next + 1;
      if (key !== 0) this.#keys.defer(key, next, nowMs);
      else this.#waiting.set({ first: next, last: next }, this.ledger.retryAtMs(next));
      this.#awaitRetry();
    }
    return undefined;
  }

  /** One past the last of the messages from `first` on that the session may have together with it. */
  #newEnd(session: Session, first: number, end: number, run: RunIndex): number {
    const alikeEnd = this.ledger.alikeEnd(first, end);
    if (run.orderingKeys === undefined) return alikeEnd;
    let next = first + 1;
    for (; next < alikeEnd; next += 1) {
      const key = orderingKeyAt(run, next);
      if (key !== 0 && !this.#keys.mayTake(key, session)) break;
    }
    return next;
  }

  /** Messages without a key are delivered again, each by itself. */
  #comeBack(first: number, last: number, nowMs: number): void {
    for (let next = first; next <= last; ) {
      const end = this.ledger.alikeEnd(next, last + 1);
      const retryAtMs = this.ledger.retryAtMs(next);
      if (retryAtMs > nowMs) this.#waiting.set({ first: next, last: end - 1 }, retryAtMs);
      else this.#setOf(next).add(next, end - 1);
      next = end;
    }
  }

  /**
   * Messages of these keys are delivered again, and so are outstanding messages of the same key behind the first
   * of them.
   */
  #comeBackInOrder(byKey: ReadonlyMap<number, number[]>, nowMs: number): void {
    for (const offset of this.#heldBehind(byKey)) {
      const [range] = this.leases.revoke(offset, offset);
      const key = orderingKeyAt(range!.index, offset);
      this.#keys.end(key);
      byKey.get(key)!.push(offset);
    }
    for (const [key, offsets] of byKey) this.#keys.putBack(key, offsets, nowMs);
    this.#awaitRetry();
    this.announce();
  }

  #heldBehind(byKey: ReadonlyMap<number, number[]>): number[] {
    const held: number[] = [];
    if (byKey.size === 0) return held;
    const firsts = Array.from(byKey.values(), (offsets) => offsets[0]!);
    const start = firsts.reduce((lowest, offset) => Math.min(lowest, offset));
    for (const { first, last, index } of this.leases.heldFrom(start)) {
      for (let offset = first; offset <= last; offset += 1) {
        const behind = byKey.get(orderingKeyAt(index, offset))?.[0];
        if (behind !== undefined && offset > behind) held.push(offset);
      }
    }
    return held;
  }

  /** Frees the messages that retention has not removed while they waited. */
  #setFree(first: number, last: number): void {
    const kept = Math.max(first, this.ledger.acknowledgedOffset);
    if (kept <= last) this.#setOf(kept).add(kept, last);
  }

  #awaitRetry(): void {
    this.context.retries.set(this, this.#waiting.nextAtMs);
  }
}

function push(lists: Map<number, number[]>, key: number, offset: number): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [offset]);
  else list.push(offset);
}

/** Adds the messages of a lease that are the first of their key, and those without a key. Notes all their keys. */
function addFirstOfKeys({ first, last, index }: LeaseRange, keys: Set<number>, found?: RangeSet): void {
  for (let offset = first; offset <= last; offset += 1) {
    const key = orderingKeyAt(index, offset);
    if (found !== undefined && !keys.has(key)) found.add(offset, offset);
    if (key !== 0) keys.add(key);
  }
}
