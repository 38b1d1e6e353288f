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
 * With `retryTimeoutMs`, a batch takes messages for at most this long, because all its messages expire with the oldest.
 */
const maxGatherMs = 500;

/**
 * Sends messages to one topic, in batches. The broker stores each message once, in the order of `send`, also when the
 * client retries. If the broker refuses a batch finally, the messages of this batch fail, and later batches continue.
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
  /** The open batch has waited for its linger: it is sent with the next free slot, and takes messages until then. */
  #isDue = false;
  /** The error that ended the producer. */
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
   * Claims the name of the producer, which fences an older process of the name, and asks for the last message of that
   * process. Tries for `retryTimeoutMs`, or for 10 s.
   */
  static async open(client: BrokerAccess, options: ProducerOptions): Promise<Producer> {
    const completed = complete(options);
    return new Producer(client, completed, await openPosition(client, completed));
  }

  /**
   * The number of the last message of this producer that is durable or under way. A named producer continues behind it.
   */
  get lastSequence(): bigint {
    return this.#outbox.lastSequence + BigInt(this.#open?.count ?? 0);
  }

  /**
   * Sends a message. Resolves when the message is durable. Rejects if the broker refuses it, if it could not be stored
   * in time (`retryTimeoutMs`), or if the producer is closed or fenced. Waits while the buffer is full, unless
   * `whenFull` is `fail`.
   */
  send(message: OutgoingMessage): Promise<Receipt> {
    if (this.#closing !== undefined) return Promise.reject(this.#over ?? closed());
    if (this.#room.isOpen) return this.#accept(message, undefined);
    if (this.#options.whenFull === 'wait') return this.#acceptInTurn(message);
    const text = `${this.#bufferedBytes} bytes wait for their receipt: the buffer is full`;
    const code = StatusCode.RESOURCE_EXHAUSTED;
    return Promise.reject(new SluiceError(text, { code, reason: 'BUFFER_FULL' }));
  }

  /**
   * Resolves when the buffer has room. For callers that send without awaiting each receipt, so that memory stays
   * bounded.
   */
  async room(): Promise<void> {
    if (this.#room.isOpen) return;
    await this.#room.pass();
    this.#room.passed();
  }

  /** Resolves when all messages of earlier `send` calls have their results. */
  async flush(): Promise<void> {
    // After the calls that wait for room.
    await this.room();
    const newest = this.#open ?? this.#outbox.newest;
    this.#gathered();
    await newest?.whenAnswered();
  }

  /** Accepts no more messages, flushes, and ends the stream. Idempotent. */
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

  /** Undefined if there was no wait. */
  #accept(message: OutgoingMessage, handedOverAtMs: number | undefined): Promise<Receipt> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    const { batchMaxBytes, batchMaxMessages, retryTimeoutMs } = this.#options;
    let byteLength: number;
    try {
      byteLength = this.#encoder.measure(message);
    } catch (error) {
      // The value is not a message.
      return Promise.reject(error);
    }
    if (retryTimeoutMs !== undefined) {
      const nowMs = performance.now();
      const fromMs = handedOverAtMs ?? nowMs;
      // The message has waited for too long. Later messages may have time left.
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

  /** Sends the open batch at once if there is a free slot. Otherwise it takes messages until there is one. */
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
    // The outbox watches the expiry of the batch.
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
