import type { Client } from '../client.js';
import { SluiceError, StatusCode } from '../errors.js';
import { Batch, type Receipt, type RequestHead } from './batch.js';
import { partitionCountOf, positionOf } from './broker-state.js';
import { Gate } from './gate.js';
import { MessageEncoder, type OutgoingMessage } from './message.js';
import { type CompleteOptions, complete, type ProducerOptions } from './options.js';
import { Outbox } from './outbox.js';

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
  /** Nothing can be sent any more, and why. */
  #over: SluiceError | undefined;
  #closing: Promise<void> | undefined;

  private constructor(
    client: Client,
    options: CompleteOptions,
    start: { epoch: bigint; lastSequence: bigint; partitionCount: number },
  ) {
    const { topic, partition, producerId } = options;
    this.#options = options;
    this.#head = { topic, partition, producerId, epoch: start.epoch };
    this.#room = new Gate(() => this.#over !== undefined || this.#bufferedBytes < options.bufferMaxBytes);
    this.#outbox = new Outbox(client, options, start, {
      answered: ({ byteLength }) => {
        this.#bufferedBytes -= byteLength;
        this.#room.changed();
      },
      over: (error) => {
        this.#over = error;
        this.#closeBatch();
        this.#room.changed();
      },
    });
  }

  /** Asks the broker where this producer ended, and takes over from an older process of its name. */
  static async open(client: Client, options: ProducerOptions): Promise<Producer> {
    const complete_ = complete(options);
    const { topic, producerId } = complete_;
    const last = await positionOf(client, topic, producerId);
    const partitionCount = await partitionCountOf(client, topic);
    return new Producer(client, complete_, {
      epoch: last.epoch + 1n,
      lastSequence: last.lastSequence,
      partitionCount,
    });
  }

  /** Messages of this producer that are durable or under way: a named one goes on behind them. */
  get lastSequence(): bigint {
    return this.#outbox.lastSequence;
  }

  /**
   * Hands a message over. Resolves when it is durable; rejects when the broker refuses it, when it could not be stored in
   * time (`retryTimeoutMs`), or when the producer is closed or fenced. Waits first while the buffer is full, unless the
   * producer would rather fail.
   */
  send(message: OutgoingMessage): Promise<Receipt> {
    if (this.#closing !== undefined) return Promise.reject(this.#over ?? closed());
    if (this.#room.isOpen) return this.#accept(message);
    if (this.#options.whenFull === 'wait') return this.#acceptInTurn(message);
    const text = `${this.#bufferedBytes} bytes wait for their receipt: the buffer is full`;
    const code = StatusCode.RESOURCE_EXHAUSTED;
    return Promise.reject(new SluiceError(text, { code, reason: 'BUFFER_FULL' }));
  }

  /** Resolves when the buffer has room: for whoever sends without awaiting each receipt, lest memory fills. */
  async room(): Promise<void> {
    if (this.#room.isOpen) return;
    await this.#room.pass();
    this.#room.passed();
  }

  /** Resolves when everything that was handed over before has its answer. */
  async flush(): Promise<void> {
    // Behind those who wait for room.
    await this.room();
    this.#closeBatch();
    await this.#outbox.newest?.whenAnswered();
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
    await this.#room.pass();
    const receipt = this.#accept(message);
    this.#room.passed();
    return receipt;
  }

  #accept(message: OutgoingMessage): Promise<Receipt> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    const { batchMaxBytes, batchMaxMessages, lingerMs } = this.#options;
    let byteLength: number;
    try {
      byteLength = this.#encoder.measure(message);
    } catch (error) {
      // Something that is no message.
      return Promise.reject(error);
    }
    if (this.#open !== undefined && this.#open.byteLength + byteLength > batchMaxBytes) this.#closeBatch();
    this.#open ??= new Batch(this.#head);
    const batch = this.#open;
    const receipt = new Promise<Receipt>((resolve, reject) =>
      batch.add(this.#encoder, byteLength, resolve, reject),
    );
    this.#bufferedBytes += byteLength;
    if (batch.byteLength >= batchMaxBytes || batch.count >= batchMaxMessages) this.#closeBatch();
    else this.#linger ??= setTimeout(() => this.#closeBatch(), lingerMs);
    return receipt;
  }

  #closeBatch(): void {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    const batch = this.#open;
    if (batch === undefined) return;
    this.#open = undefined;
    this.#outbox.add(batch);
  }
}

function closed(): SluiceError {
  return new SluiceError('the producer is closed', { code: StatusCode.CANCELLED, reason: 'CLOSED' });
}
