import type { DeadlineHeap } from '../base/deadline-heap.js';
import { invariant } from '../base/invariant.js';
import type { CursorState, Interval } from '../base/positions.js';
import type { Random } from '../base/random.js';
import { backoffMs } from './backoff.js';
import { touchingJoined } from './intervals.js';
import {
  type DeliveryRecord,
  Lease,
  LeaseTable,
  orderingKeyAt,
  type Piece,
  type RunIndex,
} from './leases.js';
import { Ledger } from './ledger.js';
import type { Outbox } from './outbox.js';
import type { Session } from './session.js';
import { staleOffsets } from './stale.js';
import type {
  Fetch,
  LeasedRun,
  MessageState,
  Outcome,
  PartitionStatus,
  ReadRun,
  SessionEnd,
  SubscriptionRules,
} from './types.js';

/** What all lanes of a subscription share. */
export interface LaneContext {
  rules: SubscriptionRules;
  readonly random: Random;
  readonly outbox: Outbox;
  /** Leases by their deadline. */
  readonly deadlines: DeadlineHeap<Lease>;
  /** Lanes by the end of the backoff that they wait for. */
  readonly retries: DeadlineHeap<Lane>;
}

/** Why a lane has nothing for a session. `othersFirst`: what there is goes to idle sessions with less to do. */
export type LaneWait = 'caughtUp' | 'backoff' | 'notAssigned' | 'othersFirst';

/** Messages that may go out together: `first` up to but not including `end`. */
export interface Claim {
  readonly first: number;
  readonly end: number;
}

/** How long failed messages wait: their backoff, or this long. */
type Retry = 'backoff' | { readonly delayMs: number };

const atOnce: Retry = { delayMs: 0 };

/**
 * One partition of a subscription: its ledger, its leases, and the read that is under way for it. What the
 * orderings have in common stands here; they differ in which message may go to whom (`offer`, `claim`) and in
 * what becomes of messages that come back (`returned`).
 */
export abstract class Lane {
  readonly partition: number;
  protected readonly context: LaneContext;
  protected readonly ledger: Ledger;
  protected readonly leases: LeaseTable;
  #endOffset: number;
  #epoch = 0;
  #read: { readonly session: Session; readonly epoch: number } | undefined;

  constructor(context: LaneContext, partition: number, cursor: CursorState, endOffset: number) {
    this.context = context;
    this.partition = partition;
    this.ledger = new Ledger(cursor);
    this.leases = new LeaseTable(context.deadlines, context.outbox);
    this.#endOffset = endOffset;
  }

  /** The session that has the lane to itself. */
  abstract readonly owner: Session | undefined;

  /** Where the session may read, or why nowhere. */
  abstract offer(session: Session, nowMs: number): number | LaneWait;

  /** Messages are about to be claimed for the session. */
  protected serve(_session: Session): void {}

  /** The next messages at or after `from` and below `end`, all in `run`, that the session may have. */
  protected abstract claim(
    session: Session,
    from: number,
    end: number,
    run: RunIndex,
    nowMs: number,
  ): Claim | undefined;

  /** What was claimed has been leased, up to `last`. */
  protected abstract taken(session: Session, first: number, last: number, run: RunIndex, nowMs: number): void;

  /** Nobody holds these any more, for whatever reason: ascending. */
  protected abstract ended(messages: readonly Piece[]): void;

  /** Some of what has ended is to be delivered again: ascending, not empty. */
  protected abstract returned(messages: readonly Piece[], nowMs: number): void;

  /** A message that was being buried is to be delivered again. */
  protected abstract revived(offset: number, orderingKey: number, nowMs: number): void;

  /** Delivery starts at the acknowledged offset, as if nothing had gone out. */
  protected abstract restart(): void;

  /** The acknowledged offset has passed messages that had not been settled. */
  protected abstract skipped(): void;

  /** The backoff of a message may be over. */
  abstract retry(nowMs: number): void;

  /** Tells who may want to know that there may be something to deliver. */
  abstract announce(): void;

  get endOffset(): number {
    return this.#endOffset;
  }

  get isReading(): boolean {
    return this.#read !== undefined;
  }

  get isIdle(): boolean {
    return this.leases.messageCount === 0;
  }

  get cursor(): CursorState {
    return this.ledger.state;
  }

  get status(): PartitionStatus {
    return {
      acknowledgedOffset: this.ledger.acknowledgedOffset,
      backlogMessageCount: this.ledger.backlog(this.#endOffset),
      outstandingMessageCount: this.leases.messageCount,
      deadLetterCount: this.ledger.deadLetterCount,
      sessionId: this.owner?.id,
    };
  }

  messageState(offset: number): MessageState {
    if (this.ledger.isSettled(offset)) return { kind: 'done' };
    const failedAttempts = this.ledger.attempts(offset);
    if (this.ledger.isBurying(offset)) return { kind: 'failed', failedAttempts };
    const lease = this.leases.at(offset);
    if (lease === undefined) return { kind: 'pending', failedAttempts };
    return { kind: 'processing', failedAttempts, sessionId: lease.delivery.session.id };
  }

  /** Buries what had failed often enough when the broker went down before it could be buried. */
  recover(): void {
    for (const offset of this.ledger.failedAtLeast(this.context.rules.maxAttempts)) this.#bury(offset, 0);
  }

  grow(endOffset: number): void {
    if (endOffset <= this.#endOffset) return;
    this.#endOffset = endOffset;
    this.announce();
  }

  // --- Reading and leasing ----------------------------------------------------------------------------------

  beginRead(session: Session, offset: number): Fetch {
    this.#read = { session, epoch: this.#epoch };
    return { kind: 'fetch', partition: this.partition, offset, epoch: this.#epoch };
  }

  /** The read has been answered. Says whether what it brought may still be used. */
  endRead(session: Session, fetch: Fetch): boolean {
    if (this.#read?.session !== session || this.#read.epoch !== fetch.epoch) return false;
    this.#read = undefined;
    return fetch.epoch === this.#epoch;
  }

  /** What is being read is not what is to be delivered next. */
  protected overtakeRead(): void {
    this.#epoch += 1;
  }

  /** The reader has lost the lane: it need not answer. */
  protected forgetRead(): void {
    this.#epoch += 1;
    this.#read = undefined;
  }

  /** Leases what the session may have of these runs and has credit for. */
  lease(
    session: Session,
    from: number,
    runs: readonly ReadRun[],
    deliveryId: number,
    nowMs: number,
  ): { readonly runs: LeasedRun[]; readonly record: DeliveryRecord } | undefined {
    const leased: LeasedRun[] = [];
    let record: DeliveryRecord | undefined;
    this.serve(session);
    for (const [index, run] of runs.entries()) {
      const end = Math.min(run.firstOffset + run.count, this.#endOffset);
      // Storage finds holes and refuses to read over them; delivering over one would lose what is missing.
      const isGapless = index > 0 || run.firstOffset <= Math.max(from, this.ledger.acknowledgedOffset);
      invariant(isGapless, 'a read begins behind the offset that was asked for');
      if (run.isForeign === true) {
        this.#passOver(run.firstOffset, end - 1);
        continue;
      }
      const runIndex = this.#indexOf(run);
      let next = Math.max(from, run.firstOffset);
      while (next < end) {
        const claim = this.claim(session, next, end, runIndex, nowMs);
        if (claim === undefined) break;
        const at = claim.first - run.firstOffset;
        const count = session.covered(run.ends, at, claim.end - run.firstOffset);
        if (count === 0) break;
        const last = claim.first + count - 1;
        record ??= {
          id: deliveryId,
          session,
          partition: this.partition,
          first: claim.first,
          last,
          isSent: false,
        };
        record.last = last;
        this.leases.add(new Lease(record, runIndex, claim.first, last, Number.POSITIVE_INFINITY));
        this.taken(session, claim.first, last, runIndex, nowMs);
        appendLeased(leased, index, at, at + count, this.ledger.attempts(claim.first) + 1);
        next = last + 1;
      }
    }
    return record === undefined ? undefined : { runs: leased, record };
  }

  /** What only another subscription is to have: nobody here ever had it, so there is nothing else to end. */
  #passOver(first: number, last: number): void {
    if (this.ledger.nextUnsettled(first) > last) return;
    this.ledger.settle(first, last);
    this.context.outbox.dirty(this.partition);
  }

  /** Not the run itself: its messages must not stay in memory for as long as one of them is out. */
  #indexOf({ firstOffset, ends, orderingKeys }: ReadRun): RunIndex {
    if (this.context.rules.ordering !== 'key') return { firstOffset, ends };
    invariant(orderingKeys !== undefined, 'a run to be delivered in order of keys comes without them');
    return { firstOffset, ends, orderingKeys };
  }

  sent(record: DeliveryRecord, nowMs: number): void {
    record.isSent = true;
    this.leases.start(record, nowMs + this.context.rules.ackDeadlineMs);
  }

  // --- The end of a lease -----------------------------------------------------------------------------------

  /** Says what the session held of it; nothing else is touched. */
  settle(
    session: Session,
    first: number,
    last: number,
    outcome: Outcome,
    nowMs: number,
  ): readonly Interval[] {
    if (outcome.kind === 'extend') return this.leases.extend(first, last, session, nowMs + outcome.byMs);
    const held = this.leases.end(first, last, session);
    if (held.length === 0) return held;
    this.context.outbox.dirty(this.partition);
    this.ended(held);
    switch (outcome.kind) {
      case 'ack':
        for (const interval of touchingJoined(held)) this.ledger.settle(interval.first, interval.last);
        break;
      case 'nack': {
        const { delayMs } = outcome;
        const retry: Retry = delayMs === undefined ? 'backoff' : { delayMs };
        this.#giveBack(this.#fail(held, retry, nowMs), nowMs);
        break;
      }
      case 'deadLetter':
        for (const piece of held) this.#reject(piece, outcome.reason);
        break;
    }
    return held;
  }

  /** Ends leases of the session that are due. */
  expire(session: Session, due: readonly Lease[], nowMs: number): void {
    const headOffset = this.leases.firstOf(session)?.first;
    const held = this.leases.revokeAll(due);
    this.ended(held);
    // The session works in order: what it was at is the first that it held, the others only waited behind it.
    const wasAtWork = held[0]?.first === headOffset;
    this.#giveBack(wasAtWork ? this.#failHead(held, 'backoff', nowMs) : held, nowMs);
  }

  /** Frees what the session held. The next one need not wait for what this one broke off. */
  release(session: Session, end: SessionEnd, nowMs: number): void {
    if (this.#read?.session === session) this.forgetRead();
    if (session.outstandingMessages === 0) return;
    const first = this.leases.firstOf(session);
    if (first === undefined) return;
    const hasFailed = end === 'broke' && first.delivery.isSent;
    const held = this.leases.end(0, Number.POSITIVE_INFINITY, session);
    this.ended(held);
    this.#giveBack(hasFailed ? this.#failHead(held, atOnce, nowMs) : held, nowMs);
  }

  /** What of `first` to `last` is in the log, not settled, and not among what was `held`. */
  staleOffsets(first: number, last: number, held: readonly Interval[]): Interval[] {
    return staleOffsets(this.ledger, first, Math.min(last, this.#endOffset - 1), held);
  }

  buried(offset: number): void {
    if (this.ledger.buried(offset)) this.context.outbox.dirty(this.partition);
  }

  unburied(offset: number, nowMs: number): void {
    const burial = this.ledger.unburied(offset);
    if (burial === undefined || this.ledger.isSettled(offset)) return;
    const attempts = this.ledger.attempts(offset);
    // What can't be buried comes again, but not in a circle at full speed.
    if (attempts > 0) {
      const waitMs = backoffMs(this.context.rules, attempts, this.context.random.next());
      this.ledger.fail(offset, attempts, nowMs + waitMs);
    }
    this.revived(offset, burial.orderingKey, nowMs);
  }

  /** Everything below counts as settled, whoever holds it. */
  dropBelow(offset: number): void {
    if (!this.ledger.raiseFloor(offset)) return;
    this.context.outbox.dirty(this.partition);
    this.ended(this.leases.revoke(0, this.ledger.acknowledgedOffset - 1));
    this.skipped();
  }

  seek(offset: number): void {
    this.leases.revoke(0, Number.POSITIVE_INFINITY);
    this.ledger.reset(offset);
    this.overtakeRead();
    this.context.outbox.dirty(this.partition);
    this.restart();
    this.announce();
  }

  #giveBack(messages: readonly Piece[], nowMs: number): void {
    if (messages.length > 0) this.returned(messages, nowMs);
  }

  /** Counts a failure for each message, and says which of them are to come again. */
  #fail(messages: readonly Piece[], retry: Retry, nowMs: number): Piece[] {
    const { rules, random } = this.context;
    // One throw for all of them: what failed together and as often comes back in one piece.
    const chance = retry === 'backoff' ? random.next() : 0;
    const again: Piece[] = [];
    for (const piece of messages) {
      const { first, last, index } = piece;
      let next = first;
      for (let offset = first; offset <= last; offset += 1) {
        const attempts = this.ledger.attempts(offset) + 1;
        const waitMs = retry === 'backoff' ? backoffMs(rules, attempts, chance) : retry.delayMs;
        this.ledger.fail(offset, attempts, waitMs === 0 ? 0 : nowMs + waitMs);
        if (attempts < rules.maxAttempts) continue;
        this.#bury(offset, orderingKeyAt(index, offset));
        if (next < offset) again.push({ ...piece, first: next, last: offset - 1 });
        next = offset + 1;
      }
      if (next <= last) again.push({ ...piece, first: next });
    }
    return again;
  }

  /** Counts a failure for the first message only. */
  #failHead(messages: readonly Piece[], retry: Retry, nowMs: number): Piece[] {
    const [head, ...others] = messages;
    if (head === undefined) return [];
    this.context.outbox.dirty(this.partition);
    const again = this.#fail([{ ...head, last: head.first }], retry, nowMs);
    if (head.first < head.last) again.push({ ...head, first: head.first + 1 });
    return [...again, ...others];
  }

  #reject(messages: Piece, reason: string): void {
    for (let offset = messages.first; offset <= messages.last; offset += 1) {
      this.ledger.fail(offset, this.ledger.attempts(offset) + 1, 0);
      this.#bury(offset, orderingKeyAt(messages.index, offset), reason);
    }
  }

  #bury(offset: number, orderingKey: number, reason = 'max attempts reached'): void {
    this.ledger.bury(offset, orderingKey);
    this.context.outbox.bury({
      partition: this.partition,
      offset,
      attempts: this.ledger.attempts(offset),
      reason,
    });
  }
}

/** Adds messages of a run behind the others, as one piece with the last where nothing is between them. */
function appendLeased(leased: LeasedRun[], run: number, from: number, to: number, attempt: number): void {
  const previous = leased.at(-1);
  if (previous?.run === run && previous.to === from && previous.attempt === attempt) {
    leased[leased.length - 1] = { ...previous, to };
  } else {
    leased.push({ run, from, to, attempt });
  }
}
