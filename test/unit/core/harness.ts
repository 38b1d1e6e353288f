import assert from 'node:assert/strict';
import type { CursorState } from '../../../src/base/positions.js';
import { createSubscriptionState } from '../../../src/core/subscription-state.js';
import type {
  Credit,
  Delivery,
  DeliveryPolicy,
  Effects,
  Fetch,
  Outcome,
  ReadRun,
  SessionEnd,
  SettleResult,
  SubscriptionState,
} from '../../../src/core/types.js';

export const defaultPolicy: DeliveryPolicy = {
  ordering: 'partition',
  ackDeadlineMs: 1_000,
  minBackoffMs: 100,
  maxBackoffMs: 10_000,
  maxAttempts: 10,
};

export const plenty: Credit = { messages: 1_000_000, bytes: 1_000_000_000 };

export const freshCursor: CursorState = {
  acknowledgedOffset: 0,
  settled: [],
  failed: [],
  deadLetterCount: 0,
};

export const messageBytes = 10;

/** A run of messages of ten bytes each, with these ordering keys or with none. */
export function runOf(firstOffset: number, count: number, keys?: readonly number[]): ReadRun {
  const ends = Uint32Array.from({ length: count }, (_, i) => (i + 1) * messageBytes);
  const orderingKeys = Uint32Array.from({ length: count }, (_, i) => keys?.[i] ?? 0);
  return { firstOffset, count, ends, orderingKeys };
}

/** A subscription with a log beside it, at a time that stands still until it is moved. Chance is always 0. */
export class Harness {
  readonly subscription: SubscriptionState;
  nowMs = 10_000;
  readonly #runs = new Map<number, ReadRun[]>();

  constructor(policy: Partial<DeliveryPolicy> = {}) {
    this.subscription = createSubscriptionState({ ...defaultPolicy, ...policy }, { next: () => 0 });
  }

  /** A partition with so many messages. */
  partition(partition: number, messageCount: number, cursor = freshCursor): void {
    this.#runs.set(partition, messageCount === 0 ? [] : [runOf(0, messageCount)]);
    this.subscription.addPartition(partition, cursor, messageCount);
  }

  /** Messages with these ordering keys. */
  append(partition: number, keys: readonly number[]): void {
    const runs = this.#runs.get(partition) ?? [];
    const last = runs.at(-1);
    const firstOffset = last === undefined ? 0 : last.firstOffset + last.count;
    this.#runs.set(partition, [...runs, runOf(firstOffset, keys.length, keys)]);
    this.subscription.setEnd(partition, firstOffset + keys.length);
  }

  /** Messages for another subscription. */
  appendTargetedElsewhere(partition: number, count: number): void {
    const runs = this.#runs.get(partition) ?? [];
    const last = runs.at(-1);
    const firstOffset = last === undefined ? 0 : last.firstOffset + last.count;
    const run = { firstOffset, count, ends: new Uint32Array(0), isTargetedElsewhere: true };
    this.#runs.set(partition, [...runs, run]);
    this.subscription.setEnd(partition, firstOffset + count);
  }

  open(sessionId: string, credit: Credit = plenty): void {
    this.subscription.openSession(sessionId, credit, this.nowMs);
  }

  close(sessionId: string, end: SessionEnd = 'broke'): void {
    this.subscription.closeSession(sessionId, end, this.nowMs);
  }

  fetch(sessionId: string): Fetch {
    const fetch = this.subscription.nextFetch(sessionId, this.nowMs);
    assert.equal(fetch.kind, 'fetch', `${sessionId} got ${JSON.stringify(fetch)}`);
    return fetch as Fetch;
  }

  waitReason(sessionId: string): string {
    const answer = this.subscription.nextFetch(sessionId, this.nowMs);
    assert.equal(answer.kind, 'wait', `${sessionId} got ${JSON.stringify(answer)}`);
    return answer.kind === 'wait' ? answer.reason : '';
  }

  /** Answers a read with all that the log has from there on. */
  lease(sessionId: string, fetch: Fetch): Delivery | undefined {
    return this.subscription.lease(sessionId, fetch, this.#stored(fetch), this.nowMs);
  }

  /** One delivery that has not left yet: `partition:first-last` with `#attempt` from the second on. */
  leaseNext(sessionId: string): { deliveryId: number; messages: string[] } {
    const fetch = this.fetch(sessionId);
    return this.#describe(fetch, this.lease(sessionId, fetch));
  }

  /** The same, unless there is nothing for the session now. */
  leaseNextIfAny(sessionId: string): { deliveryId: number; messages: string[] } | undefined {
    const answer = this.subscription.nextFetch(sessionId, this.nowMs);
    return answer.kind === 'wait' ? undefined : this.#describe(answer, this.lease(sessionId, answer));
  }

  /** One delivery, of which the bytes have left. */
  deliver(sessionId: string): string[] {
    const { deliveryId, messages } = this.leaseNext(sessionId);
    this.subscription.sent(deliveryId, this.nowMs);
    return messages;
  }

  /** Everything that the session may get now. */
  deliverAll(sessionId: string): string[] {
    const messages: string[] = [];
    for (;;) {
      const answer = this.subscription.nextFetch(sessionId, this.nowMs);
      if (answer.kind === 'wait') return messages;
      const delivery = this.#describe(answer, this.lease(sessionId, answer));
      this.subscription.sent(delivery.deliveryId, this.nowMs);
      messages.push(...delivery.messages);
    }
  }

  /** Serves what is called ready until nothing is, as the runtime does. Says what each session got. */
  serve(): Record<string, string[]> {
    const delivered: Record<string, string[]> = {};
    for (let { ready } = this.effects(); ready.length > 0; { ready } = this.effects()) {
      for (const sessionId of ready) {
        const messages = this.deliverAll(sessionId);
        if (messages.length > 0) delivered[sessionId] = [...(delivered[sessionId] ?? []), ...messages];
      }
    }
    return delivered;
  }

  settle(
    sessionId: string,
    partition: number,
    first: number,
    last: number,
    outcome: Outcome = { kind: 'ack' },
  ): SettleResult {
    return this.subscription.settle(sessionId, [{ partition, first, last, outcome }], this.nowMs);
  }

  nack(sessionId: string, partition: number, first: number, last = first, delayMs?: number): SettleResult {
    const outcome: Outcome = delayMs === undefined ? { kind: 'nack' } : { kind: 'nack', delayMs };
    return this.settle(sessionId, partition, first, last, outcome);
  }

  advance(byMs: number): void {
    this.nowMs += byMs;
    if (this.subscription.wakeAtMs <= this.nowMs) this.subscription.wake(this.nowMs);
  }

  effects(): Effects {
    return this.subscription.takeEffects();
  }

  partitionsOf(sessionId: string): readonly number[] {
    return this.subscription.sessionStatus(sessionId)!.partitions;
  }

  outstanding(sessionId: string): number {
    return this.subscription.sessionStatus(sessionId)!.outstandingMessageCount;
  }

  #describe(fetch: Fetch, delivery: Delivery | undefined): { deliveryId: number; messages: string[] } {
    if (delivery === undefined) return { deliveryId: 0, messages: [] };
    const runs = this.#stored(fetch);
    const messages = delivery.runs.map(({ run, from, to, attempt }) => {
      const first = runs[run]!.firstOffset + from;
      const range = to - from === 1 ? `${first}` : `${first}-${first + to - from - 1}`;
      return `${fetch.partition}:${range}${attempt === 1 ? '' : `#${attempt}`}`;
    });
    return { deliveryId: delivery.deliveryId, messages };
  }

  #stored(fetch: Fetch): ReadRun[] {
    const runs = this.#runs.get(fetch.partition) ?? [];
    return runs.filter((run) => run.firstOffset + run.count > fetch.offset);
  }
}
