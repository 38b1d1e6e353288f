import type { Message } from '@sluice/client/api';
import type { BatchSender } from './batch-sender.js';
import { LineSplitter, LineTooLong } from './line-splitter.js';
import { type KeyOfLine, toMessage } from './line-to-message.js';

export interface PublicationOptions {
  readonly keyOfLine: KeyOfLine;
  readonly headers: Record<string, string>;
  readonly batchMessages: number;
  /** A batch goes out once it is at least this large: its last line may carry it past that. */
  readonly batchBytes: number;
  readonly maxLineBytes: number;
  /** Lines that the broker has already: they are counted and passed over. */
  readonly skipLines: number;
}

/** Protobuf's tags and lengths around one message: more than they can be. */
const messageOverheadBytes = 32;

/**
 * Turns bytes into lines, lines into messages, messages into batches. A batch goes out when it is full, and
 * earlier when nothing is under way: so a file travels in large batches, and a line that somebody types at once.
 */
export class Publication {
  readonly #options: PublicationOptions;
  readonly #splitter: LineSplitter;
  readonly #headerBytes: number;
  #sender: BatchSender | undefined;
  #messages: Message[] = [];
  #bytes = 0;
  /** Lines that are through: skipped, or in a batch. */
  #lineCount = 0;

  constructor(options: PublicationOptions) {
    this.#options = options;
    this.#splitter = new LineSplitter(options.maxLineBytes);
    this.#headerBytes = Object.entries(options.headers).reduce(
      (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value) + messageOverheadBytes,
      0,
    );
  }

  /** Lines that were passed over, because the broker has them. */
  get skippedCount(): number {
    return Math.min(this.#lineCount, this.#options.skipLines);
  }

  /** Sends all lines of the input. Returns early when a batch has failed or `stop` fires. */
  async run(input: AsyncIterable<Uint8Array>, sender: BatchSender, stop: AbortSignal): Promise<void> {
    this.#sender = sender;
    try {
      for await (const chunk of untilAborted(input, stop)) {
        for (const line of this.#splitter.push(chunk)) {
          const sent = this.#add(line);
          // Nearly every line only joins a batch: waiting a turn for each would cost more than the work.
          if (sent === undefined) continue;
          await sent;
          if (sender.hasFailed || stop.aborted) return;
        }
        if (sender.inFlightCount === 0) await this.flush();
      }
      const last = this.#splitter.end();
      if (last !== undefined && !stop.aborted) await this.#add(last);
    } catch (error) {
      if (!(error instanceof LineTooLong)) throw error;
      throw new Error(
        `line ${this.#lineCount + 1} is longer than a message may be: ${this.#options.maxLineBytes} bytes`,
      );
    } finally {
      await this.flush();
    }
  }

  /** Sends what has gathered, however little. */
  async flush(): Promise<void> {
    if (this.#messages.length === 0 || this.#sender === undefined || this.#sender.hasFailed) return;
    const messages = this.#messages;
    this.#messages = [];
    this.#bytes = 0;
    await this.#sender.send({ firstLine: this.#lineCount - messages.length + 1, messages });
  }

  /** Undefined unless the line has filled a batch, which is then on its way. */
  #add(line: Uint8Array): Promise<void> | undefined {
    const { skipLines, keyOfLine, headers, batchMessages, batchBytes } = this.#options;
    this.#lineCount++;
    if (this.#lineCount <= skipLines) return undefined;
    const keyed = keyOfLine(line);
    this.#messages.push(toMessage(keyed, headers));
    this.#bytes += keyed.key.length + keyed.payload.length + this.#headerBytes + messageOverheadBytes;
    if (this.#messages.length < batchMessages && this.#bytes < batchBytes) return undefined;
    return this.flush();
  }
}

/** Ends when the signal fires, also while the input is silent. */
async function* untilAborted(
  input: AsyncIterable<Uint8Array>,
  stop: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const iterator = input[Symbol.asyncIterator]();
  const aborted = new Promise<undefined>((resolve) => {
    if (stop.aborted) resolve(undefined);
    stop.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  for (;;) {
    const result = await Promise.race([iterator.next(), aborted]);
    if (result === undefined || result.done === true) return;
    yield result.value;
  }
}
