import type { DeadlineHeap } from '../base/deadline-heap.js';
import { invariant } from '../base/invariant.js';
import type { CursorState, Interval } from '../base/positions.js';
import type { Random } from '../base/random.js';
import { type Failure, Failures, leaseLapsed, nackedReason } from './failures.js';
import { touchingJoined } from './intervals.js';
import {
  type DeliveryRecord,
  type Holder,
  Lease,
  type LeaseRange,
  LeaseTable,
  type RunIndex,
} from './leases.js';
import { Ledger } from './ledger.js';
import type { Outbox } from './outbox.js';
import { RangeSet } from './range-set.js';
import type { Session } from './session.js';
import { settledOffsets, staleOffsets, withoutDeadLettering } from './stale.js';
import type {
  DeliveryPolicy,
  Fetch,
  LeasedRun,
  MessageState,
  Outcome,
  PartitionStatus,
  ReadRun,
  Wait,
} from './types.js';

/** What all lanes of a subscription share. */
export interface LaneContext {
  policy: DeliveryPolicy;
  readonly random: Random;
  readonly outbox: Outbox;
  /** Leases by their deadline. */
  readonly deadlines: DeadlineHeap<Lease>;
  /** Lanes by the end of the backoff that they wait for. */
  readonly retries: DeadlineHeap<Lane>;
}

/**
 * Why a lane has nothing for a session. `othersFirst`: what there is goes to idle sessions with less to do.
 * `heldBack`: there is something, but not for this session now.
 */
export type LaneWait = 'caughtUp' | 'backoff' | 'notAssigned' | 'othersFirst' | 'heldBack';

/** Why a session is told to wait. */
export type WaitCause = Wait['reason'] | LaneWait;

/**
 * What the end of a session is charged to. Where it may have been working on several messages, the one that broke its
 * stream is not known: none is charged, and those that were at work in an earlier break too become suspects.
 */
export type Blame =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'messageAtWork'; readonly failure: Failure }
  | { readonly kind: 'suspects' };

/** Messages that may go out together: `first` up to but not including `end`. */
export interface Claim {
  readonly first: number;
  readonly end: number;
}

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
  readonly #failures: Failures;
  #endOffset: number;
  #epoch = 0;
  #read: { readonly session: Session; readonly epoch: number } | undefined;

  constructor(context: LaneContext, partition: number, cursor: CursorState, endOffset: number) {
    this.context = context;
    this.partition = partition;
    this.ledger = new Ledger(cursor);
    this.leases = new LeaseTable(context.deadlines, context.outbox);
    this.#failures = new Failures(context, partition, this.ledger);
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

  /**
   * What the session may be working on: of messages that are processed in order, the first one that it holds.
   * `isSentOnly`: nothing of what has not left for the transport.
   */
  abstract atWork(session: Session, isSentOnly: boolean): RangeSet;

  /** Nobody holds these any more, for whatever reason: ascending. */
  protected abstract ended(messages: readonly LeaseRange[]): void;

  /** Some of what has ended is to be delivered again: ascending, not empty. */
  protected abstract returned(messages: readonly LeaseRange[], nowMs: number): void;

  /** A message that was being dead-lettered is to be delivered again. */
  protected abstract redeliver(offset: number, orderingKey: number, nowMs: number): void;

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
    if (this.ledger.isDeadLettering(offset)) return { kind: 'failed', failedAttempts };
    const lease = this.leases.at(offset);
    if (lease === undefined) return { kind: 'pending', failedAttempts };
    return { kind: 'processing', failedAttempts, sessionId: lease.delivery.session.id };
  }

  /** Dead-letters what had failed often enough when the broker went down before it could do so. */
  recover(): void {
    this.#failures.recover();
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
      if (run.isTargetedElsewhere === true) {
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
        const isSuspect = this.ledger.isSuspect(claim.first);
        this.leases.add(new Lease(record, runIndex, claim.first, last, Number.POSITIVE_INFINITY));
        if (isSuspect) session.isolate();
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
    if (this.context.policy.ordering !== 'key') return { firstOffset, ends };
    invariant(orderingKeys !== undefined, 'a run to be delivered in order of keys comes without them');
    return { firstOffset, ends, orderingKeys };
  }

  sent(record: DeliveryRecord, nowMs: number): void {
    record.isSent = true;
    this.leases.start(record, nowMs + this.context.policy.ackDeadlineMs);
  }

  // --- The end of a lease -----------------------------------------------------------------------------------

  /** Says what the session held of it; nothing else is touched. */
  settle(holder: Holder, first: number, last: number, outcome: Outcome, nowMs: number): readonly Interval[] {
    if (outcome.kind === 'extend') return this.leases.extend(first, last, holder, nowMs + outcome.byMs);
    const held = this.leases.end(first, last, holder);
    if (held.length === 0) return held;
    this.context.outbox.dirty(this.partition);
    this.ended(held);
    switch (outcome.kind) {
      case 'ack':
        for (const interval of touchingJoined(held)) this.ledger.settle(interval.first, interval.last);
        break;
      case 'nack': {
        const failure = {
          delayMs: outcome.delayMs ?? 'backoff',
          reason: outcome.reason || nackedReason,
        } as const;
        // The consumer has survived them.
        for (const { first, last: end } of held) this.ledger.clear(first, end);
        this.#giveBack(this.#failures.count(held, failure, nowMs), nowMs);
        break;
      }
      case 'deadLetter':
        for (const range of held) this.#failures.reject(range, outcome.reason);
        break;
    }
    return held;
  }

  /** Ends leases of the session that are due. Charges those of them that it may have been working on. */
  expire(session: Session, due: readonly Lease[], nowMs: number): void {
    const charged = this.atWork(session, false);
    const held = this.leases.revokeAll(due);
    this.ended(held);
    this.#giveBack(this.#failures.count(held, leaseLapsed, nowMs, charged), nowMs);
  }

  /** Frees what the session held. */
  release(session: Session, blame: Blame, nowMs: number): void {
    if (this.#read?.session === session) this.forgetRead();
    if (session.outstandingMessages === 0) return;
    const atWork = blame.kind === 'nothing' ? new RangeSet() : this.atWork(session, true);
    const held = this.leases.end(0, Number.POSITIVE_INFINITY, { session });
    this.ended(held);
    if (blame.kind === 'messageAtWork') {
      this.#giveBack(this.#failures.count(held, blame.failure, nowMs, atWork), nowMs);
      return;
    }
    this.ledger.streamBroke(atWork);
    this.#giveBack(held, nowMs);
  }

  get hasDeadLetters(): boolean {
    return this.ledger.deadLetterCount > 0;
  }

  /** What of `first` to `last` is settled, and was not among what was `held`. */
  settledOffsets(first: number, last: number, held: readonly Interval[]): Interval[] {
    return settledOffsets(this.ledger, first, Math.min(last, this.#endOffset - 1), held);
  }

  /**
   * What of `first` to `last` is in the log, not settled, and not among what was `held`. A failure of what is on its way
   * to the dead-letter topic repeats what has taken effect: it is not stale.
   */
  staleOffsets(first: number, last: number, held: readonly Interval[], { kind }: Outcome): Interval[] {
    const stale = staleOffsets(this.ledger, first, Math.min(last, this.#endOffset - 1), held);
    return kind === 'nack' || kind === 'deadLetter' ? withoutDeadLettering(this.ledger, stale) : stale;
  }

  deadLettered(offset: number): void {
    if (this.ledger.deadLettered(offset)) this.context.outbox.dirty(this.partition);
  }

  deadLetterFailed(offset: number, nowMs: number): void {
    const request = this.ledger.deadLetterFailed(offset);
    if (request === undefined || this.ledger.isSettled(offset)) return;
    this.#failures.backOff(offset, nowMs);
    this.redeliver(offset, request.orderingKey, nowMs);
  }

  /** Everything below counts as settled, whoever holds it. */
  dropBelow(offset: number): void {
    if (!this.ledger.raiseFloor(offset)) return;
    this.context.outbox.dirty(this.partition);
    this.ended(this.leases.revoke(0, this.ledger.acknowledgedOffset - 1));
    this.skipped();
  }

  /** Says what begins anew: all from `offset` on, but not what is on its way to the dead-letter topic. */
  seek(offset: number): Interval[] {
    this.leases.revoke(0, Number.POSITIVE_INFINITY);
    this.ledger.reset(offset);
    this.overtakeRead();
    this.context.outbox.dirty(this.partition);
    this.restart();
    this.announce();
    return this.ledger.notDeadLetteringFrom(offset);
  }

  #giveBack(messages: readonly LeaseRange[], nowMs: number): void {
    if (messages.length > 0) this.returned(messages, nowMs);
  }
}

/** Adds messages of a run behind the others, as one range with the last where nothing is between them. */
function appendLeased(leased: LeasedRun[], run: number, from: number, to: number, attempt: number): void {
  const previous = leased.at(-1);
  if (previous?.run === run && previous.to === from && previous.attempt === attempt) {
    leased[leased.length - 1] = { ...previous, to };
  } else {
    leased.push({ run, from, to, attempt });
  }
}
