import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationMs } from '@bufbuild/protobuf/wkt';
import type { BidiStream, SluiceClient } from '@sluice/client';
import type { ConsumeRequestSchema, ConsumeResponse } from '@sluice/client/api';
import type { Clock, Timer } from '../../base/clock.js';
import { limits } from '../../base/limits.js';
import type { Output } from '../output.js';
import { type Range, RangeSet, type StartPositionInit } from '../positions.js';
import { formatRun, type MessageFormat } from './message-format.js';
import { Printer } from './printer.js';
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
 * Prints the messages of a subscription and acknowledges them once the reader of the output has taken them, or only
 * looks at them: then it extends their leases as long as it runs. It never has more leased than it will print: close to
 * a limit it lowers its credit, so no message is taken and given back. It leaves in good order, whatever happens: what
 * it has not acknowledged is delivered again, and no attempt is counted.
 */
export class Consumption {
  readonly #options: ConsumptionOptions;
  readonly #clock: Clock;
  readonly #stdout: Output;
  readonly #call: Call;
  readonly #responses: AsyncIterator<ConsumeResponse>;
  readonly #settler: Settler;
  readonly #printer: Printer;
  #next: Promise<IteratorResult<ConsumeResponse>>;
  #printedCount = 0;
  #credit: number;
  #isEnding = false;
  #timer: Timer | undefined;
  #keeper: Timer | undefined;
  /** Printed with leases that are extended. */
  readonly #looked = new RangeSet();
  #lastMessageAtMs: number;
  /** Wakes the reading loop when the consumption is to end although nothing arrives. */
  #wake: () => void = () => {};
  #failure: unknown;

  constructor(client: SluiceClient, options: ConsumptionOptions, clock: Clock, stdout: Output) {
    this.#options = options;
    this.#clock = clock;
    this.#stdout = stdout;
    this.#call = client.broker.consume();
    this.#responses = this.#call[Symbol.asyncIterator]();
    this.#next = this.#readNext();
    this.#credit = Math.min(options.maxOutstanding, options.limit);
    this.#printer = new Printer({
      output: stdout,
      clock,
      taken: ({ partition, first, last }) => {
        this.#grant();
        this.#settler.acknowledge(partition, first, last);
      },
      failed: (error) => this.#fail(error),
    });
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
      this.#keeper?.cancel();
      await this.#printer.end().catch(() => {});
      await this.#leave();
    }
    if (this.#failure !== undefined) throw this.#failure;
    return { messageCount: this.#printedCount, staleCount: this.#settler.staleCount };
  }

  async #open(): Promise<void> {
    const { topic, subscription, consumerId, start } = this.#options;
    const flowControl = { maxOutstandingMessages: this.#credit };
    const subscribe = { topic, subscription, consumerId, flowControl, ...(start !== undefined && { start }) };
    // A call that fails at once says why to its reader.
    await this.#call.write({ subscribe }).catch(() => {});
    this.#watch();
  }

  /** Heard where it is awaited; a failure that comes while something is printed must not count as unheard. */
  #readNext(): Promise<IteratorResult<ConsumeResponse>> {
    const next = this.#responses.next();
    next.catch(() => {});
    return next;
  }

  async #readAll(): Promise<void> {
    while (!(this.#isEnding && this.#hasSettled)) {
      const woken = new Promise<'woken'>((resolve) => {
        this.#wake = () => resolve('woken');
      });
      if (this.#isEnding && this.#hasSettled) break;
      const result = await Promise.race([this.#next, woken]);
      if (result === 'woken') continue;
      if (result.done === true) break;
      this.#next = this.#readNext();
      await this.#take(result.value);
    }
  }

  get #hasSettled(): boolean {
    if (this.#failure !== undefined || !this.#options.isAcknowledging) return true;
    return this.#printer.isIdle && this.#settler.isIdle;
  }

  async #take(response: ConsumeResponse): Promise<void> {
    const { topic, format, limit } = this.#options;
    if (response.opened?.ackDeadline !== undefined) this.#hasOpened(durationMs(response.opened.ackDeadline));
    if (response.settled !== undefined) this.#settler.settled(response.settled);
    if (response.runs.length === 0) return;
    this.#lastMessageAtMs = this.#clock.monotonicMs();
    for (const run of response.runs) {
      const { count, text } = formatRun(format, topic, run, limit - this.#printedCount);
      if (count === 0) continue;
      const { partition, firstOffset } = run;
      this.#printedCount += count;
      await this.#print({ partition, first: firstOffset, last: firstOffset + BigInt(count - 1) }, text);
      this.#grant();
    }
    if (this.#printedCount >= limit) this.#end();
  }

  async #print(messages: Range, text: Uint8Array): Promise<void> {
    if (this.#options.isAcknowledging) return await this.#printer.print(messages, text);
    await this.#stdout.write(text);
    this.#looked.add(messages.partition, messages.first, messages.last);
  }

  /** What waits for its reader to take it is no reason to get less: it is printed. */
  #grant(): void {
    const { isAcknowledging, maxOutstanding, limit } = this.#options;
    if (!isAcknowledging || this.#isEnding) return;
    const credit = this.#printer.untakenCount + Math.min(maxOutstanding, limit - this.#printedCount);
    if (credit === this.#credit) return;
    this.#credit = credit;
    this.#settler.setCredit(credit);
  }

  #hasOpened(ackDeadlineMs: number): void {
    this.#printer.ackDeadlineMs = ackDeadlineMs;
    if (!this.#options.isAcknowledging) this.#keep(ackDeadlineMs);
  }

  /** Extends the leases of what was looked at, again and again: one that ends would count as a failed attempt. */
  #keep(ackDeadlineMs: number): void {
    this.#keeper = this.#clock.after(ackDeadlineMs / limits.cliExtensionsPerDeadline, () => {
      this.#settler.extend(this.#looked.toArray(), ackDeadlineMs);
      this.#keep(ackDeadlineMs);
    });
  }

  /** No more messages; what was printed is still settled. */
  #end(): void {
    if (!this.#isEnding && this.#options.isAcknowledging) this.#settler.setCredit(0);
    this.#isEnding = true;
    this.#wake();
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#end();
  }

  /** Closes this half of the stream, and waits until the broker has closed the other. */
  async #leave(): Promise<void> {
    this.#call.end();
    const timer = this.#clock.after(limits.cliLeaveMs, () => this.#call.cancel());
    try {
      while ((await this.#next).done !== true) this.#next = this.#readNext();
    } catch {
      // The stream had ended, or does so now.
    } finally {
      timer.cancel();
    }
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
      check().catch((error) => this.#fail(error));
    });
  }
}
