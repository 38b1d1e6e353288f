import type { Random } from '../base/random.js';
import { backoffMs } from './backoff.js';
import { type LeaseRange, orderingKeyAt } from './leases.js';
import type { Ledger } from './ledger.js';
import type { Outbox } from './outbox.js';
import type { RangeSet } from './range-set.js';
import type { DeliveryPolicy } from './types.js';

/** The parts of a subscription that failed deliveries need. */
export interface FailureContext {
  readonly policy: DeliveryPolicy;
  readonly random: Random;
  readonly outbox: Outbox;
}

/**
 * A failed delivery: how long the message waits (its backoff, or a number), and the reason for its dead letter.
 */
export interface Failure {
  readonly delayMs: number | 'backoff';
  readonly reason: string;
}

export const leaseLapsed: Failure = {
  delayMs: 'backoff',
  reason: 'lease lapsed: the consumer did not settle the message before its deadline',
};

/** The reason of a nack without a reason. */
export const nackedReason = 'nacked: the consumer gave no reason';

/** The consumer's stream ended while its session held the message. Other sessions can have the message at once. */
export const streamEnded = {
  broke: { delayMs: 0, reason: 'connection lost: the consumer lost its connection while it had the message' },
  cancelled: {
    delayMs: 0,
    reason: 'call cancelled: the consumer cancelled its call while it had the message',
  },
} as const satisfies Record<string, Failure>;

/** Counts the failed deliveries of a partition. Dead-letters messages that have failed too often. */
export class Failures {
  readonly #context: FailureContext;
  readonly #partition: number;
  readonly #ledger: Ledger;

  constructor(context: FailureContext, partition: number, ledger: Ledger) {
    this.#context = context;
    this.#partition = partition;
    this.#ledger = ledger;
  }

  /**
   * Counts a failure for each message, or only for the `charged` ones. Returns the messages to deliver again,
   * ascending.
   */
  count(messages: readonly LeaseRange[], failure: Failure, nowMs: number, charged?: RangeSet): LeaseRange[] {
    const { policy, random, outbox } = this.#context;
    if (messages.length > 0 && charged?.offsetCount !== 0) outbox.dirty(this.#partition);
    // One random number for all of them: messages with the same number of failures come back together.
    const chance = failure.delayMs === 'backoff' ? random.next() : 0;
    const again: LeaseRange[] = [];
    for (const range of messages) {
      const { first, last, index } = range;
      let next = first;
      for (let offset = first; offset <= last; offset += 1) {
        if (charged?.has(offset) === false) continue;
        const attempts = this.#fail(offset, failure, nowMs, chance);
        if (attempts < policy.maxAttempts) continue;
        this.deadLetter(offset, orderingKeyAt(index, offset), failure.reason);
        pushPart(again, range, next, offset - 1);
        next = offset + 1;
      }
      pushPart(again, range, next, last);
    }
    return again;
  }

  /** Counts one failure of a message. Returns how many it has now. */
  #fail(offset: number, { delayMs }: Failure, nowMs: number, chance: number): number {
    const attempts = this.#ledger.attempts(offset) + 1;
    const waitMs = delayMs === 'backoff' ? backoffMs(this.#context.policy, attempts, chance) : delayMs;
    this.#ledger.fail(offset, attempts, waitMs === 0 ? 0 : nowMs + waitMs);
    return attempts;
  }

  /** Dead-letters messages because their consumer asked for it. */
  reject(messages: LeaseRange, reason: string): void {
    for (let offset = messages.first; offset <= messages.last; offset += 1) {
      this.#ledger.fail(offset, this.#ledger.attempts(offset) + 1, 0);
      this.deadLetter(offset, orderingKeyAt(messages.index, offset), reason);
    }
  }

  /**
   * Dead-letters messages that had failed too often when the broker ended, but were not in the dead-letter topic
   * yet.
   */
  recover(): void {
    const { policy } = this.#context;
    for (const offset of this.#ledger.failedAtLeast(policy.maxAttempts)) {
      this.deadLetter(offset, 0, 'max attempts reached before a restart of the broker');
    }
  }

  /** The message could not be dead-lettered. It is delivered again after a backoff, not in a busy loop. */
  backOff(offset: number, nowMs: number): void {
    const { policy, random } = this.#context;
    const attempts = this.#ledger.attempts(offset);
    if (attempts > 0) this.#ledger.fail(offset, attempts, nowMs + backoffMs(policy, attempts, random.next()));
  }

  deadLetter(offset: number, orderingKey: number, reason: string): void {
    this.#ledger.deadLetter(offset, orderingKey);
    const attempts = this.#ledger.attempts(offset);
    this.#context.outbox.deadLetter({ partition: this.#partition, offset, attempts, reason });
  }
}

/** Adds a part of a range, unless the part is empty. */
function pushPart(parts: LeaseRange[], range: LeaseRange, first: number, last: number): void {
  if (first <= last) parts.push({ ...range, first, last });
}

/**
 * What the end of a session is charged to. If the consumer may have been working on several messages, the broker
 * can't know which one broke the stream: none is charged, and those that were at work in an earlier break too
 * become suspects.
 */
export type Blame =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'messageAtWork'; readonly failure: Failure }
  | { readonly kind: 'suspects' };
