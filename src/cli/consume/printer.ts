import type { Clock, Timer } from '../../base/clock.js';
import { limits } from '../../base/limits.js';
import type { Output } from '../output.js';
import type { Range } from '../positions.js';

/** Messages whose text has been written. */
interface Printed extends Range {
  /** Where their text ends, in bytes since the start. */
  readonly end: number;
  readonly writtenAtMs: number;
}

export interface PrinterOptions {
  readonly output: Output;
  readonly clock: Clock;
  /** The reader of the output has taken the text of these messages. */
  readonly taken: (messages: Range) => void;
  /** The reader is gone, or the output has failed: what was not taken stays so. */
  readonly failed: (error: unknown) => void;
}

/**
 * Prints messages, and says when the reader of the output has taken them. A file or a terminal takes what is written.
 * A pipe holds what its reader has not read, and does not tell: a message counts as taken once the pipe has no room
 * for it any more behind what was written later, or once a write some time after it shows that there is a reader.
 *
 * So that there is such a write when no message follows, a pipe gets the last newline that late. A reader that ends
 * early (`head`) has ended by then, and nothing that it left is taken.
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

  /** Messages that were printed and not taken. */
  get untakenCount(): number {
    return this.#untakenCount;
  }

  /** Everything that was printed has been taken, or never will be. */
  get isIdle(): boolean {
    return this.#untaken.length === 0 || this.#isFailed;
  }

  /** Messages must be acknowledged before their leases end. */
  set ackDeadlineMs(ms: number) {
    this.#probeAfterMs = Math.min(limits.cliReaderProbeAfterMs, ms / 4);
  }

  /** Prints the text of messages, which ends in a newline. Throws where nobody reads any more. */
  async print(messages: Range, text: Uint8Array): Promise<void> {
    const { output, clock, taken } = this.#options;
    if (this.#heldBytes === 0) {
      await output.write(text);
      taken(messages);
      return;
    }
    // This write is one, too.
    this.#probe?.cancel();
    const shownMs = clock.monotonicMs() - this.#probeAfterMs;
    await this.#write(text.subarray(0, -1), true);
    this.#untakenCount += countOf(messages);
    this.#untaken.push({ ...messages, end: this.#writtenBytes, writtenAtMs: clock.monotonicMs() });
    const passedBytes = this.#writtenBytes - this.#heldBytes;
    this.#release(({ end, writtenAtMs }) => end <= passedBytes || writtenAtMs <= shownMs);
    this.#probeLater();
  }

  /** Nothing more is printed: the last newline goes out now. */
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
