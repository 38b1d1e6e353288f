import type { MessageInitShape } from '@bufbuild/protobuf';
import type { BidiStream, SluiceClient } from '@sluice/client';
import type { ConsumeRequestSchema, ConsumeResponse } from '@sluice/client/api';
import type { Clock, Timer } from '../../base/clock.js';
import type { Output } from '../output.js';
import type { StartPositionInit } from '../positions.js';
import { formatRun, type MessageFormat } from './message-format.js';
import { Settler } from './settler.js';

export interface ConsumptionOptions {
  readonly topic: string;
  readonly subscription: string;
  readonly consumerId: string;
  readonly start: StartPositionInit | undefined;
  readonly maxOutstanding: number;
  readonly format: MessageFormat;
  readonly isAcknowledging: boolean;
  /** Infinity: no limit. */
  readonly limit: number;
  /** Ends after this long without a message. */
  readonly idleMs: number | undefined;
  /** Asked when no message has come for `checkEveryMs`; ends once it answers true. */
  readonly isCaughtUp: (() => Promise<boolean>) | undefined;
  readonly checkEveryMs: number;
}

export interface Consumed {
  readonly messageCount: number;
  readonly staleCount: bigint;
}

type Call = BidiStream<MessageInitShape<typeof ConsumeRequestSchema>, ConsumeResponse>;

/**
 * Prints the messages of a subscription and acknowledges them once they are printed. It never has more leased
 * than it will print: close to a limit it lowers its credit, so no message is taken and given back.
 */
export class Consumption {
  readonly #options: ConsumptionOptions;
  readonly #clock: Clock;
  readonly #stdout: Output;
  readonly #call: Call;
  readonly #settler: Settler;
  #printedCount = 0;
  #isEnding = false;
  #timer: Timer | undefined;
  #lastMessageAtMs: number;
  /** Wakes the reading loop when the consumption is to end although nothing arrives. */
  #wake: () => void = () => {};
  #failure: unknown;

  constructor(client: SluiceClient, options: ConsumptionOptions, clock: Clock, stdout: Output) {
    this.#options = options;
    this.#clock = clock;
    this.#stdout = stdout;
    this.#call = client.broker.consume();
    this.#settler = new Settler(
      (request) => this.#call.write(request),
      () => this.#wake(),
    );
    this.#lastMessageAtMs = clock.monotonicMs();
  }

  /** Resolves when the limit or the end is reached, or `interrupted` fires; everything printed is settled then. */
  async run(interrupted: AbortSignal): Promise<Consumed> {
    const end = () => this.#end();
    interrupted.addEventListener('abort', end);
    try {
      await this.#open();
      if (interrupted.aborted) end();
      await this.#readAll();
    } finally {
      interrupted.removeEventListener('abort', end);
      this.#timer?.cancel();
      this.#call.cancel();
    }
    if (this.#failure !== undefined) throw this.#failure;
    return { messageCount: this.#printedCount, staleCount: this.#settler.staleCount };
  }

  async #open(): Promise<void> {
    const { topic, subscription, consumerId, start, maxOutstanding, limit } = this.#options;
    const flowControl = { maxOutstandingMessages: Math.min(maxOutstanding, limit) };
    const subscribe = { topic, subscription, consumerId, flowControl, ...(start !== undefined && { start }) };
    // A call that fails at once says why to its reader.
    await this.#call.write({ subscribe }).catch(() => {});
    this.#watch();
  }

  async #readAll(): Promise<void> {
    const responses = this.#call[Symbol.asyncIterator]();
    let next = responses.next();
    // Heard in the loop; a failure that comes while something is printed must not count as unheard.
    next.catch(() => {});
    while (!(this.#isEnding && this.#hasSettled)) {
      const woken = new Promise<'woken'>((resolve) => {
        this.#wake = () => resolve('woken');
      });
      if (this.#isEnding && this.#hasSettled) break;
      const result = await Promise.race([next, woken]);
      if (result === 'woken') continue;
      if (result.done === true) break;
      next = responses.next();
      next.catch(() => {});
      await this.#take(result.value);
    }
  }

  get #hasSettled(): boolean {
    return this.#failure !== undefined || !this.#options.isAcknowledging || this.#settler.isIdle;
  }

  async #take(response: ConsumeResponse): Promise<void> {
    const { topic, format, limit, isAcknowledging, maxOutstanding } = this.#options;
    if (response.settled !== undefined) this.#settler.settled(response.settled);
    if (response.runs.length === 0) return;
    this.#lastMessageAtMs = this.#clock.monotonicMs();
    for (const run of response.runs) {
      const { count, text } = formatRun(format, topic, run, limit - this.#printedCount);
      await this.#stdout.write(text);
      this.#printedCount += count;
      if (count === 0 || !isAcknowledging) continue;
      const remaining = limit - this.#printedCount;
      if (remaining < maxOutstanding) this.#settler.setCredit(remaining);
      this.#settler.acknowledge(run.partition, run.firstOffset, run.firstOffset + BigInt(count - 1));
    }
    if (this.#printedCount >= limit) this.#end();
  }

  /** No more messages; what was printed is still settled. */
  #end(): void {
    if (!this.#isEnding && this.#options.isAcknowledging) this.#settler.setCredit(0);
    this.#isEnding = true;
    this.#wake();
  }

  /** Looks now and then whether nothing has come for long enough. */
  #watch(): void {
    const { idleMs, isCaughtUp, checkEveryMs } = this.#options;
    if (idleMs === undefined && isCaughtUp === undefined) return;
    const everyMs = isCaughtUp === undefined ? (idleMs ?? checkEveryMs) : checkEveryMs;
    const check = async () => {
      const quietMs = this.#clock.monotonicMs() - this.#lastMessageAtMs;
      const isIdle = idleMs !== undefined && quietMs >= idleMs;
      if (isIdle || (quietMs >= checkEveryMs && isCaughtUp !== undefined && (await isCaughtUp())))
        this.#end();
      else if (!this.#isEnding) this.#watch();
    };
    const quietMs = this.#clock.monotonicMs() - this.#lastMessageAtMs;
    this.#timer = this.#clock.after(quietMs < everyMs ? everyMs - quietMs : everyMs, () => {
      check().catch((error) => {
        this.#failure = error;
        this.#end();
      });
    });
  }
}
