import type { Message } from '@sluice/client/api';
import type { BatchSender } from './batch-sender.js';
import { LineSplitter, LineTooLong } from './line-splitter.js';
import { type KeyOfLine, toMessage } from './line-to-message.js';

export interface PublicationOptions {
  readonly keyOfLine: KeyOfLine;
  readonly headers: Record<string, string>;
  readonly batchMessages: number;
  /** A batch is sent when it is at least this large: its last line may exceed the size. */
  readonly batchBytes: number;
  readonly maxLineBytes: number;
  /** Lines that the broker already has: they are counted and skipped. */
  readonly skipLines: number;
}

/** An upper bound of Protobuf's tags and lengths around one message. */
const messageOverheadBytes = 32;

/**
 * Converts bytes to lines, lines to messages, and messages to batches. A batch is sent when it is full, or earlier
 * if no batch is under way: a file is sent in large batches, and a typed line at once.
 */
export class Publication {
  readonly #options: PublicationOptions;
  readonly #splitter: LineSplitter;
  readonly #headerBytes: number;
  #sender: BatchSender | undefined;
  #messages: Message[] = [];
  #bytes = 0;
  /** Lines that are done: skipped, or in a batch. */
  #lineCount = 0;

  constructor(options: PublicationOptions) {
    this.#options = options;
    this.#splitter = new LineSplitter(options.maxLineBytes);
    this.#headerBytes = Object.entries(options.headers).reduce(
      (sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value) + messageOverheadBytes,
      0,
    );
  }

  /** Lines that were skipped, because the broker has them. */
  get skippedCount(): number {
    return Math.min(this.#lineCount, this.#options.skipLines);
  }

  /** Sends all lines of the input. Returns early if a batch has failed or `stop` aborts. */
  async run(input: AsyncIterable<Uint8Array>, sender: BatchSender, stop: AbortSignal): Promise<void> {
    this.#sender = sender;
    try {
      for await (const chunk of untilAborted(input, stop)) {
        const isStopped = await this.#addLines(chunk, () => sender.hasFailed || stop.aborted);
        if (isStopped) return;
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

  /** Adds the lines that end in this chunk. Answers whether it stopped early, after a batch that it sent. */
  async #addLines(chunk: Uint8Array, mustStop: () => boolean): Promise<boolean> {
    for (const line of this.#splitter.push(chunk)) {
      const sent = this.#add(line);
      // Nearly every line only joins a batch: awaiting each would cost more than the work.
      if (sent === undefined) continue;
      await sent;
      if (mustStop()) return true;
    }
    return false;
  }

  /** Sends the batch, even if it is not full. */
  async flush(): Promise<void> {
    if (this.#messages.length === 0 || this.#sender === undefined || this.#sender.hasFailed) return;
    const messages = this.#messages;
    this.#messages = [];
    this.#bytes = 0;
    await this.#sender.send({ firstLine: this.#lineCount - messages.length + 1, messages });
  }

  /** Undefined unless the line has filled a batch, which is then being sent. */
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

/** Ends when the signal aborts, even if the input is silent. */
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
