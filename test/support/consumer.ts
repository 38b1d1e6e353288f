import type { BidiStream, SluiceClient } from '@sluice/client';
import type { ConsumeRequest, ConsumeResponse, MessageRun, Settlement } from '@sluice/client/api';

type ConsumeCall = ReturnType<SluiceClient['broker']['consume']>;
type ConsumeRequestInit = ConsumeCall extends BidiStream<infer I, ConsumeResponse> ? I : ConsumeRequest;
type SettlementInit = NonNullable<NonNullable<ConsumeRequestInit['settlements']>[number]>;
export type Outcome = NonNullable<SettlementInit['outcome']>;

/** One message as it was delivered. */
export interface Delivered {
  readonly partition: number;
  readonly offset: number;
  readonly attempt: number;
  readonly deliveryId: number;
  readonly key: string;
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface ConsumerOptions {
  readonly topic: string;
  readonly subscription: string;
  readonly maxMessages?: number;
  readonly maxBytes?: number;
  readonly consumerId?: string;
}

export const ack: Outcome = { case: 'ack', value: {} };
export const nack = (delayMs?: number): Outcome => ({
  case: 'nack',
  value: delayMs === undefined ? {} : { delay: toDuration(delayMs) },
});
export const extend = (byMs: number): Outcome => ({ case: 'extend', value: { by: toDuration(byMs) } });
export const deadLetter = (reason: string): Outcome => ({ case: 'deadLetter', value: { reason } });

export function toDuration(ms: number): { seconds: bigint; nanos: number } {
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1_000_000 };
}

/** Messages of runs, one by one. */
export function deliveredOf(runs: readonly MessageRun[]): Delivered[] {
  return runs.flatMap((run) =>
    run.messages.map((message, i) => ({
      partition: run.partition,
      offset: Number(run.firstOffset) + i,
      attempt: run.attempt,
      deliveryId: Number(run.deliveryId),
      key: Buffer.from(message.key).toString(),
      text: Buffer.from(message.payload).toString(),
      headers: message.headers,
    })),
  );
}

interface Waiter {
  readonly isDone: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** A consumer for tests: everything that the broker says is kept in order, and can be waited for. */
export class TestConsumer {
  /** Delivered and not yet taken. */
  readonly inbox: Delivered[] = [];
  readonly assignments: number[][] = [];
  /** What came apart from messages, in its order among them: `delivered 2`, `revoked 0:1-2`, `settled`. */
  readonly events: string[] = [];
  readonly #stream: ConsumeCall;
  readonly #settled = new Map<bigint, NonNullable<ConsumeResponse['settled']>['result']>();
  readonly #waiters = new Set<Waiter>();
  readonly #receiving: Promise<unknown>;
  #nextSettlementId = 1n;
  #ended: { readonly error: unknown } | undefined;
  sessionId = '';

  private constructor(stream: ConsumeCall) {
    this.#stream = stream;
    this.#receiving = this.#receive();
  }

  /** Resolves when the session is open. */
  static async open(client: SluiceClient, options: ConsumerOptions): Promise<TestConsumer> {
    const consumer = new TestConsumer(client.broker.consume());
    const { topic, subscription, maxMessages, maxBytes, consumerId } = options;
    await consumer.#stream.write({
      subscribe: {
        topic,
        subscription,
        consumerId: consumerId ?? '',
        flowControl: {
          ...(maxMessages !== undefined && { maxOutstandingMessages: maxMessages }),
          ...(maxBytes !== undefined && { maxOutstandingBytes: BigInt(maxBytes) }),
        },
      },
    });
    await consumer.until(() => consumer.sessionId !== '');
    return consumer;
  }

  /** Takes the next messages; waits until there are so many. */
  async take(count: number): Promise<Delivered[]> {
    await this.until(() => this.inbox.length >= count);
    return this.inbox.splice(0, count);
  }

  async takeTexts(count: number): Promise<string[]> {
    return (await this.take(count)).map(({ text }) => text);
  }

  /** Settles messages, one settlement each; resolves when that is durable. */
  settle(messages: readonly Delivered[], outcome: Outcome, lastDeliveryId = 0) {
    return this.settleRanges(
      messages.map(({ partition, offset }) => ({ partition, first: offset, last: offset })),
      outcome,
      lastDeliveryId,
    );
  }

  async settleRanges(
    ranges: readonly { readonly partition: number; readonly first: number; readonly last: number }[],
    outcome: Outcome,
    lastDeliveryId = 0,
  ): Promise<NonNullable<NonNullable<ConsumeResponse['settled']>['result']>> {
    const settlementId = this.#nextSettlementId++;
    const settlements = ranges.map(({ partition, first, last }) => ({
      offsets: { partition, firstOffset: BigInt(first), lastOffset: BigInt(last) },
      outcome,
    }));
    await this.#stream.write({ settlementId, settlements, lastDeliveryId: BigInt(lastDeliveryId) });
    await this.until(() => this.#settled.has(settlementId));
    return this.#settled.get(settlementId)!;
  }

  async setCredit(credit: { readonly messages?: number; readonly bytes?: number }): Promise<void> {
    await this.#stream.write({
      flowControl: {
        ...(credit.messages !== undefined && { maxOutstandingMessages: credit.messages }),
        ...(credit.bytes !== undefined && { maxOutstandingBytes: BigInt(credit.bytes) }),
      },
    });
  }

  /** Waits for something that only a message of the broker can bring about. */
  until(isDone: () => boolean): Promise<void> {
    if (isDone()) return Promise.resolve();
    if (this.#ended !== undefined) return Promise.reject(this.#ended.error);
    return new Promise((resolve, reject) => this.#waiters.add({ isDone, resolve, reject }));
  }

  /** The error with which the stream ended; undefined where it ended well. */
  get ended(): Promise<unknown> {
    return this.#receiving;
  }

  /** Closes its half of the stream: what is outstanding is free. Resolves when the broker has ended the other. */
  async leave(): Promise<void> {
    this.#stream.end();
    await this.#receiving;
  }

  /** Breaks off without settling: what is outstanding is free. */
  close(): void {
    this.#stream.cancel();
  }

  async #receive(): Promise<unknown> {
    let error: unknown;
    try {
      for await (const response of this.#stream) {
        if (response.opened !== undefined) this.sessionId = response.opened.sessionId;
        if (response.assignment !== undefined) this.assignments.push([...response.assignment.partitions]);
        if (response.settled !== undefined) {
          this.#settled.set(response.settled.settlementId, response.settled.result);
          this.events.push('settled');
        }
        for (const { partition, firstOffset, lastOffset } of response.revoked) {
          this.events.push(`revoked ${partition}:${firstOffset}-${lastOffset}`);
        }
        for (const run of response.runs) this.events.push(`delivered ${run.messages.length}`);
        this.inbox.push(...deliveredOf(response.runs));
        this.#look();
      }
    } catch (thrown) {
      error = thrown;
    }
    this.#ended = { error };
    this.#look();
    for (const waiter of this.#waiters) waiter.reject(error ?? new Error('the stream has ended'));
    this.#waiters.clear();
    return error;
  }

  #look(): void {
    for (const waiter of this.#waiters) {
      if (!waiter.isDone()) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }
}

export type { Settlement };
