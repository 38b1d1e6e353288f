import type { BrokerAccess } from '../broker-access.js';
import { SluiceError, StatusCode } from '../errors.js';
import { Batch, type Receipt, type RequestHead } from './batch.js';
import { openPosition, type Position } from './broker-state.js';
import { notInTime } from './failure.js';
import { Gate } from './gate.js';
import { MessageEncoder, type OutgoingMessage } from './message.js';
import { type CompleteOptions, complete, type ProducerOptions } from './options.js';
import { Outbox } from './outbox.js';

/**
 * With `retryTimeoutMs`, the messages of one batch were handed over within so long: they share the time that is left to
 * the oldest.
 */
const maxGatherMs = 500;

/**
 * Sends messages to one topic: in batches, several under way at once, each stored once and in the order of `send`,
 * whatever breaks meanwhile. A batch that the broker refuses for good fails alone, and those behind it go on.
 */
export class Producer {
  readonly #options: CompleteOptions;
  readonly #head: RequestHead;
  readonly #outbox: Outbox;
  readonly #encoder = new MessageEncoder();
  readonly #room: Gate;
  #bufferedBytes = 0;
  #open: Batch | undefined;
  #linger: NodeJS.Timeout | undefined;
  /** The open batch has waited for its linger: it goes with the next free slot, and gathers until then. */
  #isDue = false;
  /** Nothing can be sent any more, and why. */
  #over: SluiceError | undefined;
  #closing: Promise<void> | undefined;

  private constructor(
    client: BrokerAccess,
    options: CompleteOptions,
    start: Position & { readonly partitionCount: number },
  ) {
    const { topic, partition, producerId } = options;
    this.#options = options;
    this.#head = { topic, partition, producerId };
    this.#room = new Gate(() => this.#over !== undefined || this.#bufferedBytes < options.bufferMaxBytes);
    this.#outbox = new Outbox(client, options, start, {
      answered: ({ byteLength }) => {
        this.#bufferedBytes -= byteLength;
        this.#room.changed();
      },
      slotFree: () => {
        if (this.#isDue) this.#closeBatch();
      },
      over: (error) => {
        this.#over = error;
        this.#closeBatch();
        this.#room.changed();
      },
    });
  }

  /**
   * Claims the name of the producer, which fences an older process of the name, and asks where that one ended. Tries for
   * `retryTimeoutMs`, or for 10 s.
   */
  static async open(client: BrokerAccess, options: ProducerOptions): Promise<Producer> {
    const completed = complete(options);
    return new Producer(client, completed, await openPosition(client, completed));
  }

  /** Messages of this producer that are durable or under way: a named one goes on behind them. */
  get lastSequence(): bigint {
    return this.#outbox.lastSequence + BigInt(this.#open?.count ?? 0);
  }

  /**
   * Hands a message over. Resolves when it is durable; rejects when the broker refuses it, when it could not be stored in
   * time (`retryTimeoutMs`), or when the producer is closed or fenced. Waits first while the buffer is full, unless the
   * producer would rather fail.
   */
  send(message: OutgoingMessage): Promise<Receipt> {
    if (this.#closing !== undefined) return Promise.reject(this.#over ?? closed());
    if (this.#room.isOpen) return this.#accept(message, undefined);
    if (this.#options.whenFull === 'wait') return this.#acceptInTurn(message);
    const text = `${this.#bufferedBytes} bytes wait for their receipt: the buffer is full`;
    const code = StatusCode.RESOURCE_EXHAUSTED;
    return Promise.reject(new SluiceError(text, { code, reason: 'BUFFER_FULL' }));
  }

  /** Resolves when the buffer has room. For callers that send without awaiting each receipt, so that memory stays bounded. */
  async room(): Promise<void> {
    if (this.#room.isOpen) return;
    await this.#room.pass();
    this.#room.passed();
  }

  /** Resolves when everything that was handed over before has its answer. */
  async flush(): Promise<void> {
    // Behind those who wait for room.
    await this.room();
    const newest = this.#open ?? this.#outbox.newest;
    this.#gathered();
    await newest?.whenAnswered();
  }

  /** Takes no more messages, flushes, and ends the stream. Harmless twice. */
  close(): Promise<void> {
    this.#closing ??= this.flush().then(() => {
      this.#over ??= closed();
      this.#outbox.close(this.#over);
    });
    return this.#closing;
  }

  async #acceptInTurn(message: OutgoingMessage): Promise<Receipt> {
    const handedOverAtMs = performance.now();
    await this.#room.pass();
    const receipt = this.#accept(message, handedOverAtMs);
    this.#room.passed();
    return receipt;
  }

  /** Undefined: it is handed over now. */
  #accept(message: OutgoingMessage, handedOverAtMs: number | undefined): Promise<Receipt> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    const { batchMaxBytes, batchMaxMessages, retryTimeoutMs } = this.#options;
    let byteLength: number;
    try {
      byteLength = this.#encoder.measure(message);
    } catch (error) {
      // Something that is no message.
      return Promise.reject(error);
    }
    if (retryTimeoutMs !== undefined) {
      const nowMs = performance.now();
      const fromMs = handedOverAtMs ?? nowMs;
      // It stood in line for too long. Those behind it have some time left, perhaps.
      if (nowMs >= fromMs + retryTimeoutMs) return Promise.reject(notInTime(retryTimeoutMs, undefined));
      if (this.#open !== undefined && fromMs > this.#open.openedAtMs + maxGatherMs) this.#closeBatch();
    }
    if (this.#open !== undefined && this.#open.byteLength + byteLength > batchMaxBytes) this.#closeBatch();
    this.#open ??= new Batch(this.#head, handedOverAtMs ?? performance.now());
    const batch = this.#open;
    const receipt = new Promise<Receipt>((resolve, reject) =>
      batch.add(this.#encoder, byteLength, resolve, reject),
    );
    this.#bufferedBytes += byteLength;
    if (batch.byteLength >= batchMaxBytes || batch.count >= batchMaxMessages) this.#closeBatch();
    else if (!this.#isDue) this.#linger ??= setTimeout(() => this.#gathered(), this.#lingerMs);
    return receipt;
  }

  get #lingerMs(): number {
    const { lingerMs, retryTimeoutMs } = this.#options;
    return retryTimeoutMs === undefined ? lingerMs : Math.min(lingerMs, maxGatherMs);
  }

  /** The open batch goes: at once if it can, otherwise with the next free slot. What comes until then goes with it. */
  #gathered(): void {
    if (this.#open === undefined) return;
    if (this.#outbox.hasSlot) {
      this.#closeBatch();
      return;
    }
    this.#isDue = true;
    clearTimeout(this.#linger);
    this.#linger = undefined;
    if (this.#options.retryTimeoutMs === undefined) return;
    // Its time runs, and the outbox looks at the clock.
    const leftMs = this.#open.openedAtMs + maxGatherMs - performance.now();
    this.#linger = setTimeout(() => this.#closeBatch(), Math.max(1, leftMs));
  }

  #closeBatch(): void {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    this.#isDue = false;
    const batch = this.#open;
    if (batch === undefined) return;
    this.#open = undefined;
    this.#outbox.add(batch);
  }
}

function closed(): SluiceError {
  return new SluiceError('the producer is closed', { code: StatusCode.CANCELLED, reason: 'CLOSED' });
}
