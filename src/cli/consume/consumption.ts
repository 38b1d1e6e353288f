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
  /** Called when no message has arrived for `checkEveryMs`. The consumption ends when it returns true. */
  readonly isCaughtUp: (() => Promise<boolean>) | undefined;
  readonly checkEveryMs: number;
}

export interface Consumed {
  readonly messageCount: number;
  readonly staleCount: bigint;
}

type Call = BidiStream<MessageInitShape<typeof ConsumeRequestSchema>, ConsumeResponse>;

/**
 * Prints the messages of a subscription. Acknowledges them once the reader of the output has taken them; or leaves
 * them unacknowledged, and extends their leases while it runs. It never leases more messages than it will print:
 * close to a limit it lowers its credit. It always leaves in good order: messages that it has not acknowledged are
 * delivered again, and no attempt is counted.
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
  /** Printed messages whose leases are extended. */
  readonly #looked = new RangeSet();
  #lastMessageAtMs: number;
  /** Wakes the reading loop when the consumption ends without a message. */
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

  /**
   * Resolves when the limit or the end is reached, or `interrupted` aborts. Everything printed is settled then.
   */
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
    // If the call fails, its reader gets the reason.
    await this.#call.write({ subscribe }).catch(() => {});
    this.#watch();
  }

  /** The result is awaited later. The empty handler keeps a failure during printing from counting as unhandled. */
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

  /** Messages that wait for the reader of the output do not reduce the credit: they are printed. */
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

  /** Extends the leases of unacknowledged messages repeatedly: a lapsed lease would count as a failed attempt. */
  #keep(ackDeadlineMs: number): void {
    this.#keeper = this.#clock.after(ackDeadlineMs / limits.cliExtensionsPerDeadline, () => {
      this.#settler.extend(this.#looked.toArray(), ackDeadlineMs);
      this.#keep(ackDeadlineMs);
    });
  }

  /** Asks for no more messages. Printed messages are still settled. */
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
      // The stream has ended, or ends now.
    } finally {
      timer.cancel();
    }
  }

  /** Checks at intervals whether no message has arrived for long enough. */
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
