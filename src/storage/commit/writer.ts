import { Fifo } from '../../base/fifo.js';
import { limits } from '../../base/limits.js';
import type { RoundPlan, Submitter } from './round-planner.js';
import type { Submission } from './submission.js';

export interface WriterServices {
  /** Lays out a round. Called in the order in which rounds are written. */
  readonly plan: (submissions: readonly Submission[]) => RoundPlan;
  /** Hands a round to the writer thread. */
  readonly send: (plan: RoundPlan) => void;
  /** Calls back before the event loop waits again. */
  readonly soon: (run: () => void) => void;
}

/**
 * Gathers submissions into rounds: everything from one turn of the event loop, and everything that arrives while
 * earlier rounds are being written. An idle writer writes at once. While a round syncs, the next round is sent only
 * if it is worth a sync of its own; so the writer thread always has the next round ready under load, and small
 * submissions share a sync.
 */
export class Writer {
  readonly #services: WriterServices;
  readonly #maxQueuedBytes: number;
  readonly #waiting = new Fifo<Submission>();
  readonly #underWay = new Fifo<RoundPlan>();
  #waitingBytes = 0;
  /** How many of the waiting submissions are bound to earlier ones. */
  #waitingBound = 0;
  /** All bytes that were ever submitted. */
  #submittedBytes = 0;
  #underWayBytes = 0;
  #isGathering = false;
  #wasFull = false;

  constructor(maxQueuedBytes: number, services: WriterServices) {
    this.#maxQueuedBytes = maxQueuedBytes;
    this.#services = services;
  }

  get submittedBytes(): number {
    return this.#submittedBytes;
  }

  get queuedBytes(): number {
    return this.#waitingBytes + this.#underWayBytes;
  }

  get roomBytes(): number {
    return this.#maxQueuedBytes - this.queuedBytes;
  }

  get hasRoom(): boolean {
    return this.roomBytes >= 0;
  }

  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#underWay.length === 0;
  }

  enqueue(submission: Submission): void {
    this.#waiting.push(submission);
    this.#waitingBytes += submission.byteLength;
    this.#submittedBytes += submission.byteLength;
    if (submission.isBoundToEarlier) this.#waitingBound++;
    if (!this.hasRoom) this.#wasFull = true;
    this.#gatherSoon();
  }

  /** The oldest round is written and committed: it no longer counts, and the next one may be sent. */
  finishRound(): RoundPlan {
    const plan = this.#underWay.shift()!;
    this.#underWayBytes -= plan.byteLength;
    this.#gatherSoon();
    return plan;
  }

  /** The submitters of everything that was not written, oldest first. Afterwards the writer is empty. */
  abandon(): Submitter[] {
    const abandoned: Submitter[] = [];
    for (let plan = this.#underWay.shift(); plan !== undefined; plan = this.#underWay.shift()) {
      abandoned.push(...plan.submitters);
    }
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      abandoned.push(next.transaction);
    }
    this.#waitingBytes = 0;
    this.#waitingBound = 0;
    this.#underWayBytes = 0;
    return abandoned;
  }

  /** True once, when there is room again after there was none. */
  takeRoom(): boolean {
    if (!this.#wasFull || !this.hasRoom) return false;
    this.#wasFull = false;
    return true;
  }

  #mayGather(): boolean {
    if (this.#waiting.length === 0 || this.#underWay.length >= limits.roundsUnderWay) return false;
    return this.#underWay.length === 0 || this.#waitingBytes >= limits.secondRoundBytes;
  }

  #gatherSoon(): void {
    if (this.#isGathering || !this.#mayGather()) return;
    this.#isGathering = true;
    this.#services.soon(() => {
      this.#isGathering = false;
      while (this.#mayGather()) this.#gather();
    });
  }

  /**
   * One round: at least one submission, only whole ones, up to about `limits.roundBytes`. It is longer while a
   * submission waits that is bound to earlier ones, at most as long as the queue.
   */
  #gather(): void {
    const submissions: Submission[] = [];
    let byteLength = 0;
    for (let next = this.#waiting.peek(); next !== undefined; next = this.#waiting.peek()) {
      const isFull = byteLength > 0 && byteLength + next.byteLength > limits.roundBytes;
      if (isFull && this.#waitingBound === 0) break;
      submissions.push(next);
      byteLength += next.byteLength;
      if (next.isBoundToEarlier) this.#waitingBound--;
      this.#waiting.shift();
    }
    this.#waitingBytes -= byteLength;
    this.#underWayBytes += byteLength;
    const plan = this.#services.plan(submissions);
    this.#underWay.push(plan);
    this.#services.send(plan);
  }
}
