import type { Clock, Timer } from '../../base/clock.js';
import { limits } from '../../base/limits.js';
import type { Output } from '../output.js';
import type { Range } from '../positions.js';

/** Messages whose text has been written. */
interface Printed extends Range {
  /** The end of their text, in bytes since the start. */
  readonly end: number;
  readonly writtenAtMs: number;
}

export interface PrinterOptions {
  readonly output: Output;
  readonly clock: Clock;
  /** The reader of the output has taken the text of these messages. */
  readonly taken: (messages: Range) => void;
  /** The reader has gone, or the output has failed: messages that were not taken stay so. */
  readonly failed: (error: unknown) => void;
}

/**
 * Prints messages, and reports when the reader of the output has taken them. A file or a terminal takes everything
 * that is written. A pipe holds what its reader has not read, and does not report it: a message counts as taken
 * when later bytes have filled the pipe behind it, or when a write some time later shows that there is still a
 * reader.
 *
 * To have such a write when no message follows, the last newline is written to a pipe that much later. A reader
 * that ends early (`head`) has ended by then, and what it did not read does not count as taken.
 */
export class Printer {
  readonly #options: PrinterOptions;
  readonly #heldBytes: number;
  #untaken: Printed[] = [];
  #untakenCount = 0;
  #writtenBytes = 0;
  #owesNewline = false;
  #probe: Timer | undefined;
  #probeAfterMs: number = limits.cliReaderProbeAfterMs;
  #isFailed = false;

  constructor(options: PrinterOptions) {
    this.#options = options;
    this.#heldBytes = options.output.heldBytes;
  }

  /** Messages that were printed and not yet taken. */
  get untakenCount(): number {
    return this.#untakenCount;
  }

  /** Everything printed has been taken, or never will be. */
  get isIdle(): boolean {
    return this.#untaken.length === 0 || this.#isFailed;
  }

  /** Messages must be acknowledged before their leases end. */
  set ackDeadlineMs(ms: number) {
    this.#probeAfterMs = Math.min(limits.cliReaderProbeAfterMs, ms / 4);
  }

  /** Prints the text of messages, which ends in a newline. Throws if the output has no reader any more. */
  async print(messages: Range, text: Uint8Array): Promise<void> {
    const { output, clock, taken } = this.#options;
    if (this.#heldBytes === 0) {
      await output.write(text);
      taken(messages);
      return;
    }
    // This write serves as the probe.
    this.#probe?.cancel();
    const shownMs = clock.monotonicMs() - this.#probeAfterMs;
    await this.#write(text.subarray(0, -1), true);
    this.#untakenCount += countOf(messages);
    this.#untaken.push({ ...messages, end: this.#writtenBytes, writtenAtMs: clock.monotonicMs() });
    const passedBytes = this.#writtenBytes - this.#heldBytes;
    this.#release(({ end, writtenAtMs }) => end <= passedBytes || writtenAtMs <= shownMs);
    this.#probeLater();
  }

  /** Nothing more is printed: writes the last newline now. */
  async end(): Promise<void> {
    this.#probe?.cancel();
    if (this.#owesNewline && !this.#isFailed) await this.#write(new Uint8Array(0), false);
  }

  async #write(text: Uint8Array, owesNewline: boolean): Promise<void> {
    const bytes = this.#owesNewline ? Buffer.concat([newline, text]) : text;
    this.#owesNewline = owesNewline;
    this.#writtenBytes += bytes.length;
    try {
      await this.#options.output.write(bytes);
    } catch (error) {
      this.#isFailed = true;
      this.#probe?.cancel();
      throw error;
    }
  }

  #release(isTaken: (printed: Printed) => boolean): void {
    const firstHeld = this.#untaken.findIndex((printed) => !isTaken(printed));
    const released = this.#untaken.splice(0, firstHeld === -1 ? this.#untaken.length : firstHeld);
    for (const { partition, first, last } of released) {
      const messages = { partition, first, last };
      this.#untakenCount -= countOf(messages);
      this.#options.taken(messages);
    }
  }

  #probeLater(): void {
    const { clock, failed } = this.#options;
    const printedBytes = this.#writtenBytes;
    this.#probe = clock.after(this.#probeAfterMs, () => {
      this.#write(new Uint8Array(0), false).then(
        () => this.#release(({ end }) => end <= printedBytes),
        failed,
      );
    });
  }
}

const newline = Buffer.from('\n');

function countOf({ first, last }: Range): number {
  return Number(last - first) + 1;
}
