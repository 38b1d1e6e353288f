import type { DeadlineHeap } from '../base/deadline-heap.js';
import { invariant } from '../base/invariant.js';
import type { CursorState, Interval } from '../base/positions.js';
import type { Random } from '../base/random.js';
import { type Blame, Failures, leaseLapsed, nackedReason } from './failures.js';
import { touchingJoined } from './intervals.js';
import {
  appendLeased,
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
import { TakeBackCounts } from './take-back-counts.js';
import type {
  DeliveryPolicy,
  Fetch,
  LeasedRun,
  MessageState,
  Outcome,
  PartitionStatus,
  ReadRun,
} from './types.js';
import type { LaneWait } from './wait-causes.js';

/** The state that all lanes of a subscription share. */
export interface LaneContext {
  policy: DeliveryPolicy;
  readonly random: Random;
  readonly outbox: Outbox;
  /** Leases by their deadline. */
  readonly deadlines: DeadlineHeap<Lease>;
  /** Lanes by the end of the next backoff. */
  readonly retries: DeadlineHeap<Lane>;
}

/** Messages that may go out together: `first` up to but not including `end`. */
export interface Claim {
  readonly first: number;
  readonly end: number;
}

/**
 * One partition of a subscription: its ledger, its leases, and the read under way for it. This class holds what
 * the orderings have in common. They differ in which session may have a message (`offer`, `claim`), and in what
 * happens to messages that come back (`returned`).
 */
export abstract class Lane {
  readonly partition: number;
  protected readonly context: LaneContext;
  protected readonly ledger: Ledger;
  protected readonly leases: LeaseTable;
  readonly #failures: Failures;
  readonly #takeBacks = new TakeBackCounts();
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

  /** The only session that may read the lane. */
  abstract readonly owner: Session | undefined;

  /** The offset that the session may read next, or why there is none. */
  abstract offer(session: Session, nowMs: number): number | LaneWait;

  /** Called before messages are claimed for the session. */
  protected serve(_session: Session): void {}

  /** The next messages at or after `from` and below `end`, all in `run`, that the session may have. */
  protected abstract claim(
    session: Session,
    from: number,
    end: number,
    run: RunIndex,
    nowMs: number,
  ): Claim | undefined;

  /** The claimed messages up to `last` have been leased. */
  protected abstract taken(session: Session, first: number, last: number, run: RunIndex, nowMs: number): void;

  /**
   * The messages that the session may be working on: if messages are processed in order, the first one that it
   * holds. `isSentOnly`: only messages that have left for the transport.
   */
  abstract atWork(session: Session, isSentOnly: boolean): RangeSet;

  /** These messages are no longer held, for whatever reason. Ascending. */
  protected abstract ended(messages: readonly LeaseRange[]): void;

  /** Some of the ended messages are to be delivered again. Ascending, not empty. */
  protected abstract returned(messages: readonly LeaseRange[], nowMs: number): void;

  /** A message that was being dead-lettered is to be delivered again. */
  protected abstract redeliver(offset: number, orderingKey: number, nowMs: number): void;

  /** Delivery starts at the acknowledged offset, as if nothing had been delivered. */
  protected abstract restart(): void;

  /** The acknowledged offset has passed messages that had not been settled. */
  protected abstract skipped(): void;

  /** The backoff of a message may be over. */
  abstract retry(nowMs: number): void;

  /** Calls sessions ready that may be able to receive something. */
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

  /** Dead-letters messages that had failed too often before a restart of the broker. */
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

  /** The read has been answered. Returns whether its runs may still be used. */
  endRead(session: Session, fetch: Fetch): boolean {
    if (this.#read?.session !== session || this.#read.epoch !== fetch.epoch) return false;
    this.#read = undefined;
    return fetch.epoch === this.#epoch;
  }

  /** The read under way does not bring the messages to deliver next. */
  protected overtakeRead(): void {
    this.#epoch += 1;
  }

  /** The reading session has lost the lane: its read need not be answered. */
  protected forgetRead(): void {
    this.#epoch += 1;
    this.#read = undefined;
  }

  /** Leases messages of these runs that the session may have and has credit for. */
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
    this.#checkGapless(from, runs[0]);
    for (const [index, run] of runs.entries()) {
      const end = Math.min(run.firstOffset + run.count, this.#endOffset);
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
          leasedAtMs: nowMs,
          takeBackCount: 0,
          isTakenBack: false,
        };
        record.last = last;
        record.takeBackCount = Math.max(record.takeBackCount, this.#takeBacks.largest(claim.first, last));
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

  /** Storage finds gaps and refuses to read over them. Delivering over a gap would lose messages. */
  #checkGapless(from: number, firstRun: ReadRun | undefined): void {
    if (firstRun === undefined) return;
    const isGapless = firstRun.firstOffset <= Math.max(from, this.ledger.acknowledgedOffset);
    invariant(isGapless, 'a read begins behind the offset that was asked for');
  }

  /** Settles messages that are targeted to another subscription. They were never held here. */
  #passOver(first: number, last: number): void {
    if (this.ledger.nextUnsettled(first) > last) return;
    this.ledger.settle(first, last);
    this.context.outbox.dirty(this.partition);
  }

  /** Not the run itself: its messages must not stay in memory while one of them is outstanding. */
  #indexOf({ firstOffset, ends, orderingKeys }: ReadRun): RunIndex {
    if (this.context.policy.ordering !== 'key') return { firstOffset, ends };
    invariant(orderingKeys !== undefined, 'a run to be delivered in order of keys comes without them');
    return { firstOffset, ends, orderingKeys };
  }

  sent(record: DeliveryRecord, nowMs: number): void {
    record.isSent = true;
    if (record.takeBackCount > 0) this.#forgetTakeBacks(record);
    this.leases.start(record, nowMs + this.context.policy.ackDeadlineMs);
  }

  /** A consumer gets the messages of this delivery that were not taken back again. */
  #forgetTakeBacks(record: DeliveryRecord): void {
    for (const { first, last, delivery } of this.leases.heldFrom(record.first)) {
      if (first > record.last) break;
      if (delivery === record) this.#takeBacks.remove(first, last);
    }
  }

  // --- The end of a lease -----------------------------------------------------------------------------------

  /** Returns what the session held of the range. Nothing else is changed. */
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
        // The consumer has survived these messages.
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

  /** Ends leases of the session that are due. Charges the messages that the session may have been working on. */
  expire(session: Session, due: readonly Lease[], nowMs: number): void {
    const charged = this.atWork(session, false);
    const held = this.leases.revokeAll(due);
    this.ended(held);
    this.#giveBack(this.#failures.count(held, leaseLapsed, nowMs, charged), nowMs);
  }

  /** Takes back what has not left for the transport of the session. Nothing is charged: no consumer has seen it. */
  takeBackUnsent(session: Session, nowMs: number): void {
    const held = this.leases.revokeUnsent(session);
    if (held.length === 0) return;
    this.#takeBacks.remove(0, this.ledger.acknowledgedOffset - 1);
    for (const { first, last, delivery } of held) {
      this.#takeBacks.set(first, last, delivery.takeBackCount + 1);
    }
    this.ended(held);
    this.#giveBack(held, nowMs);
  }

  /** Frees the messages that the session held. */
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

  /** The offsets from `first` to `last` that are settled and were not `held`. */
  settledOffsets(first: number, last: number, held: readonly Interval[]): Interval[] {
    return settledOffsets(this.ledger, first, Math.min(last, this.#endOffset - 1), held);
  }

  /**
   * The offsets from `first` to `last` that are in the log, not settled, and were not `held`. A failure of a
   * message that is being dead-lettered repeats what has taken effect: it is not stale.
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

  /** Everything below counts as settled, whether held or not. */
  dropBelow(offset: number): void {
    if (!this.ledger.raiseFloor(offset)) return;
    this.context.outbox.dirty(this.partition);
    this.ended(this.leases.revoke(0, this.ledger.acknowledgedOffset - 1));
    this.skipped();
  }

  /** Returns the offsets that begin anew: all from `offset` on, except messages that are being dead-lettered. */
  seek(offset: number): Interval[] {
    this.leases.revoke(0, Number.POSITIVE_INFINITY);
    this.ledger.reset(offset);
    this.#takeBacks.clear();
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
