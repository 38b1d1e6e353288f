import { limits } from '../base/limits.js';
import type { CursorState, Interval } from '../base/positions.js';
import { OffsetMap } from './offset-map.js';
import { RangeSet } from './range-set.js';

interface Failure {
  readonly attempts: number;
  /** The message is not delivered before this time; 0 if it need not wait. Lost in a restart. */
  readonly retryAtMs: number;
}

interface PendingDeadLetter {
  readonly attempts: number;
  /** 0 without a key, or if the message was not read since the broker started. */
  readonly orderingKey: number;
}

/**
 * What a subscription knows about the messages of one partition, apart from leases: which are settled, how often
 * others have failed, and which are being dead-lettered.
 *
 * Everything below `acknowledgedOffset` is settled, and the message at it is not. Settled messages have no
 * failures. A message that is being dead-lettered is not settled, and no session may have it.
 */
export class Ledger {
  readonly #settled = new RangeSet();
  readonly #failed = new OffsetMap<Failure>();
  readonly #deadLettering = new OffsetMap<PendingDeadLetter>();
  /** Messages that were at work, with others, when a stream broke. Lost in a restart. */
  readonly #inOneBreak = new RangeSet();
  /**
   * Messages that were at work, with others, when two streams broke. Each is delivered alone, because it may have
   * broken them. Lost in a restart.
   */
  readonly #suspects = new RangeSet();
  #acknowledgedOffset: number;
  #deadLetterCount: number;

  constructor(state: CursorState) {
    this.#acknowledgedOffset = state.acknowledgedOffset;
    this.#deadLetterCount = state.deadLetterCount;
    for (const { first, last } of state.settled) this.#settled.add(first, last);
    for (const { offset, attempts } of state.failed) this.#failed.set(offset, { attempts, retryAtMs: 0 });
  }

  get acknowledgedOffset(): number {
    return this.#acknowledgedOffset;
  }

  get deadLetterCount(): number {
    return this.#deadLetterCount;
  }

  get state(): CursorState {
    return {
      acknowledgedOffset: this.#acknowledgedOffset,
      settled: this.#settled.toIntervals(),
      failed: this.#failed.map((offset, { attempts }) => ({ offset, attempts })),
      deadLetterCount: this.#deadLetterCount,
    };
  }

  /** Messages below `end` that are not settled. */
  backlog(end: number): number {
    return Math.max(0, end - this.#acknowledgedOffset - this.#settled.offsetCount);
  }

  isSettled(offset: number): boolean {
    return offset < this.#acknowledgedOffset || this.#settled.has(offset);
  }

  isDeadLettering(offset: number): boolean {
    return this.#deadLettering.get(offset) !== undefined;
  }

  /** The first offset at or after `offset` that is being dead-lettered; Infinity if there is none. */
  nextDeadLettering(offset: number): number {
    return this.#deadLettering.nextFrom(offset);
  }

  /** The offsets at or after `offset` that are not being dead-lettered. */
  notDeadLetteringFrom(offset: number): Interval[] {
    const others: Interval[] = [];
    let next = offset;
    for (let deadLettering = this.nextDeadLettering(next); deadLettering !== Number.POSITIVE_INFINITY; ) {
      if (deadLettering > next) others.push({ first: next, last: deadLettering - 1 });
      next = deadLettering + 1;
      deadLettering = this.nextDeadLettering(next);
    }
    others.push({ first: next, last: limits.maxOffset - 1 });
    return others;
  }

  /** The first offset at or after `offset` that is not settled. */
  nextUnsettled(offset: number): number {
    return this.#settled.nextAbsent(Math.max(offset, this.#acknowledgedOffset));
  }

  /** The first settled offset at or after `offset`; Infinity if there is none. */
  nextSettled(offset: number): number {
    return offset < this.#acknowledgedOffset ? offset : this.#settled.nextFrom(offset);
  }

  /** The first offset at or after `offset` that is neither settled nor being dead-lettered. */
  nextPending(offset: number): number {
    let next = this.nextUnsettled(offset);
    while (this.isDeadLettering(next)) next = this.nextUnsettled(next + 1);
    return next;
  }

  /**
   * One past the last of the messages from `offset` (itself pending) up to `end` that are pending and have the
   * same failures: they may go out together. A suspect goes alone.
   */
  alikeEnd(offset: number, end: number): number {
    if (this.isSuspect(offset)) return offset + 1;
    const pendingEnd = Math.min(
      end,
      this.#settled.nextFrom(offset),
      this.#deadLettering.nextFrom(offset),
      this.#suspects.nextFrom(offset),
    );
    const failure = this.#failed.get(offset);
    if (failure === undefined) return Math.min(pendingEnd, this.#failed.nextFrom(offset));
    let next = offset + 1;
    for (; next < pendingEnd; next += 1) {
      const other = this.#failed.get(next);
      if (other?.attempts !== failure.attempts || other.retryAtMs !== failure.retryAtMs) break;
    }
    return next;
  }

  /** The number of failed deliveries of this message. */
  attempts(offset: number): number {
    return this.#deadLettering.get(offset)?.attempts ?? this.#failed.get(offset)?.attempts ?? 0;
  }

  /** The time before which the message is not delivered; 0 if it need not wait. */
  retryAtMs(offset: number): number {
    return this.#failed.get(offset)?.retryAtMs ?? 0;
  }

  /** Messages with at least `attempts` failures: ascending. */
  failedAtLeast(attempts: number): number[] {
    return this.#failed
      .map((offset, failure) => (failure.attempts >= attempts ? offset : -1))
      .filter((offset) => offset >= 0);
  }

  get suspectCount(): number {
    return this.#suspects.offsetCount;
  }

  isSuspect(offset: number): boolean {
    return this.#suspects.offsetCount > 0 && this.#suspects.has(offset);
  }

  /**
   * A stream broke while its consumer was working on all of these. Messages that were also in an earlier break
   * become suspects, the lowest offsets first, up to the limit. The rest are remembered for a later break. Nothing
   * is charged.
   */
  streamBroke(atWork: RangeSet): void {
    for (const { first, last } of atWork.toIntervals()) {
      this.#suspectRepeated(first, last);
      this.#inOneBreak.add(first, last);
    }
  }

  /** A consumer has settled these messages: they did not break its stream. */
  clear(first: number, last: number): void {
    if (this.#inOneBreak.offsetCount > 0) this.#inOneBreak.remove(first, last);
    if (this.#suspects.offsetCount > 0) this.#suspects.remove(first, last);
  }

  settle(first: number, last: number): void {
    this.clear(first, last);
    this.#failed.deleteRange(first, last);
    if (first > this.#acknowledgedOffset) {
      this.#settled.add(first, last);
      return;
    }
    this.raiseFloor(last + 1);
  }

  /** Everything below `offset` counts as settled. Returns whether that changed anything. */
  raiseFloor(offset: number): boolean {
    if (offset <= this.#acknowledgedOffset) return false;
    this.#acknowledgedOffset = this.#settled.nextAbsent(offset);
    this.#settled.remove(0, this.#acknowledgedOffset - 1);
    this.#failed.deleteRange(0, this.#acknowledgedOffset - 1);
    this.clear(0, this.#acknowledgedOffset - 1);
    return true;
  }

  fail(offset: number, attempts: number, retryAtMs: number): void {
    this.#failed.set(offset, { attempts, retryAtMs });
  }

  deadLetter(offset: number, orderingKey: number): void {
    this.#deadLettering.set(offset, { attempts: this.attempts(offset), orderingKey });
  }

  /** False if the message is not being dead-lettered. */
  deadLettered(offset: number): boolean {
    if (!this.#deadLettering.delete(offset)) return false;
    this.#deadLetterCount += 1;
    if (!this.isSettled(offset)) this.settle(offset, offset);
    return true;
  }

  /** Undefined if the message is not being dead-lettered. */
  deadLetterFailed(offset: number): PendingDeadLetter | undefined {
    const request = this.#deadLettering.get(offset);
    this.#deadLettering.delete(offset);
    return request;
  }

  /**
   * Moves the acknowledged offset to `offset`, as if it had never been higher. Dead-letter requests under way go
   * on: the message ends in the dead-letter topic, and must not be in two places.
   */
  reset(offset: number): void {
    this.#acknowledgedOffset = offset;
    this.#settled.clear();
    this.#failed.clear();
    this.#inOneBreak.clear();
    this.#suspects.clear();
  }

  #suspectRepeated(first: number, last: number): void {
    for (let next = this.#inOneBreak.nextFrom(first); next <= last; ) {
      const left = limits.suspectsPerPartition - this.#suspects.offsetCount;
      if (left <= 0) return;
      const end = Math.min(last + 1, next + left, this.#inOneBreak.nextAbsent(next));
      this.#suspects.add(next, end - 1);
      next = this.#inOneBreak.nextFrom(end);
    }
  }
}
