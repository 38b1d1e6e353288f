import type { MessageInitShape } from '@bufbuild/protobuf';
import type { BidiStream } from '../calls.js';
import type { SluiceClient } from '../client.js';
import { SluiceError, StatusCode } from '../errors.js';
import type { PublishStreamRequestSchema, PublishStreamResponse } from '../gen/sluice/v1/broker_pb.js';

import { Batch, type Receipt } from './batch.js';
import { Gate } from './gate.js';
import { estimateBytes, type OutgoingMessage, toMessage } from './message.js';
import { type CompleteOptions, complete, type ProducerOptions } from './options.js';
import { placesOf } from './routing.js';

type PublishCall = BidiStream<MessageInitShape<typeof PublishStreamRequestSchema>, PublishStreamResponse>;

/** How it stands with the broker. */
type State =
  /** Batches go out over the stream. */
  | { readonly kind: 'streaming'; readonly call: PublishCall }
  /** Nothing goes out: the stream broke, or a batch was refused and those behind it have to be answered first. */
  | { readonly kind: 'recovering' }
  /** For good. */
  | { readonly kind: 'over'; readonly error: SluiceError };

/** Codes of errors that trying again may mend. */
const retriable = new Set<number>([
  StatusCode.UNAVAILABLE,
  StatusCode.RESOURCE_EXHAUSTED,
  StatusCode.ABORTED,
  StatusCode.CANCELLED,
  StatusCode.UNKNOWN,
  StatusCode.INTERNAL,
  StatusCode.DEADLINE_EXCEEDED,
]);
/** Reasons after which nothing of this producer can be stored any more. */
const final = new Set(['PRODUCER_FENCED', 'TOPIC_DELETED', 'AUTO_CREATE_DISABLED']);
const finalCodes = new Set<number>([StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED]);

/**
 * Sends messages to one topic: in batches, several under way at once, each stored once and in the order of `send`,
 * whatever breaks meanwhile. A batch that the broker refuses for good fails alone, and those behind it go on.
 */
export class Producer {
  readonly #client: SluiceClient;
  readonly #options: CompleteOptions;
  /** Not answered yet, oldest first; all but the last may be sent. */
  readonly #batches: Batch[] = [];
  #open: Batch | undefined;
  #linger: NodeJS.Timeout | undefined;
  #bufferedBytes = 0;
  readonly #room: Gate;
  readonly #idleWaiters: (() => void)[] = [];
  #state: State = { kind: 'recovering' };
  #isWriting = false;
  #isClosing = false;
  /** Tries since the last receipt. */
  #failures = 0;
  #epoch = 0n;
  #lastSequence: bigint;
  #partitionCount: number;

  private constructor(
    client: SluiceClient,
    options: CompleteOptions,
    start: { epoch: bigint; lastSequence: bigint; partitionCount: number },
  ) {
    this.#client = client;
    this.#options = options;
    this.#epoch = start.epoch;
    this.#lastSequence = start.lastSequence;
    this.#partitionCount = start.partitionCount;
    this.#room = new Gate(() => this.#isOver || this.#bufferedBytes < this.#options.bufferMaxBytes);
    this.#connect();
  }

  /** Asks the broker where this producer ended, and takes over from an older process of its name. */
  static async open(client: SluiceClient, options: ProducerOptions): Promise<Producer> {
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
    return this.#lastSequence;
  }

  /**
   * Hands a message over. Resolves when it is durable; rejects when the broker refuses it, or the producer is closed or
   * fenced. Waits first while the buffer is full, unless the producer would rather fail.
   */
  async send(outgoing: OutgoingMessage): Promise<Receipt> {
    const message = toMessage(outgoing);
    this.#checkOpen();
    if (!this.#room.isOpen) {
      if (this.#options.whenFull === 'fail') {
        const text = `${this.#bufferedBytes} bytes wait for their receipt: the buffer is full`;
        throw new SluiceError(text, { code: StatusCode.RESOURCE_EXHAUSTED, reason: 'BUFFER_FULL' });
      }
      await this.#room.pass();
      // Whoever stands behind is told the same.
      if (this.#isOver || this.#isClosing) this.#room.passed();
      this.#checkOpen();
    }
    const bytes = estimateBytes(message);
    const { batchMaxBytes, batchMaxMessages, lingerMs } = this.#options;
    if (this.#open !== undefined && this.#open.byteLength + bytes > batchMaxBytes) this.#closeBatch();
    this.#open ??= new Batch();
    const batch = this.#open;
    const receipt = new Promise<Receipt>((resolve, reject) => batch.add(message, { resolve, reject }));
    this.#bufferedBytes += bytes;
    this.#room.passed();
    if (batch.byteLength >= batchMaxBytes || batch.messages.length >= batchMaxMessages) this.#closeBatch();
    else this.#linger ??= setTimeout(() => this.#closeBatch(), lingerMs);
    return receipt;
  }

  /** Sends what waits, and resolves when everything that was handed over before has its answer. */
  async flush(): Promise<void> {
    this.#closeBatch();
    while (this.#batches.length > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Takes no more messages, flushes, and ends the stream. Harmless twice. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.flush();
    if (this.#state.kind === 'streaming') this.#state.call.end();
    if (this.#state.kind !== 'over') this.#state = { kind: 'over', error: closed() };
  }

  get #isOver(): boolean {
    return this.#state.kind === 'over';
  }

  #checkOpen(): void {
    if (this.#state.kind === 'over') throw this.#state.error;
    if (this.#isClosing) throw closed();
  }

  #closeBatch(): void {
    clearTimeout(this.#linger);
    this.#linger = undefined;
    const batch = this.#open;
    if (batch === undefined) return;
    this.#open = undefined;
    batch.firstSequence = this.#lastSequence + 1n;
    this.#lastSequence = batch.lastSequence;
    this.#batches.push(batch);
    void this.#write();
  }

  /** Writes what may be under way, in order, as the transport takes it. */
  async #write(): Promise<void> {
    if (this.#isWriting) return;
    this.#isWriting = true;
    while (this.#state.kind === 'streaming') {
      const { call } = this.#state;
      const next = this.#batches.slice(0, this.#options.maxInFlight).find(({ isSent }) => !isSent);
      if (next === undefined) break;
      next.isSent = true;
      const { topic, partition, producerId } = this.#options;
      const producer = { producerId, epoch: this.#epoch, firstSequence: next.firstSequence };
      const routed = partition === undefined ? {} : { partition };
      // A call that is over says so where its answers are read.
      await call
        .write({ topic, ...routed, producer, batchId: next.firstSequence, messages: next.messages })
        .catch(() => {});
    }
    this.#isWriting = false;
  }

  #connect(): void {
    const call = this.#client.broker.publishStream();
    this.#state = { kind: 'streaming', call };
    void this.#read(call);
    void this.#write();
  }

  /** Reads answers until the stream is over or has to be given up, and then recovers. */
  async #read(call: PublishCall): Promise<void> {
    let failure: SluiceError | undefined;
    let retryAfterMs: number | undefined;
    try {
      for await (const response of call) {
        const batch = this.#batches[0];
        if (batch === undefined || response.batchId !== batch.firstSequence) {
          throw new SluiceError('an answer to no batch that is under way', {
            code: StatusCode.INTERNAL,
            reason: 'INTERNAL',
          });
        }
        if (response.error !== undefined) {
          failure = SluiceError.fromPublishError(response.error);
          retryAfterMs = failure.retryAfterMs;
          break;
        }
        await this.#stored(batch, response);
        this.#failures = 0;
        void this.#write();
      }
    } catch (error) {
      failure = SluiceError.from(error);
      retryAfterMs = failure.retryAfterMs;
    }
    if (this.#state.kind !== 'streaming' || this.#state.call !== call) return;
    this.#state = { kind: 'recovering' };
    call.cancel();
    if (failure === undefined && this.#isClosing && this.#batches.length === 0) return;
    await this.#recover(failure, retryAfterMs);
  }

  /**
   * Asks the broker what it has, which answers only what is durable; fails the oldest batch if that is what was refused
   * for good; numbers the others so that nothing is missing; and goes on over a new stream.
   */
  async #recover(failure: SluiceError | undefined, retryAfterMs: number | undefined): Promise<void> {
    let refused = failure !== undefined && !retriable.has(failure.code) ? failure : undefined;
    if (failure !== undefined && (final.has(failure.reason) || finalCodes.has(failure.code))) {
      this.#end(failure);
      return;
    }
    // What was refused for good is no reason to wait.
    let waitMs = refused === undefined ? this.#backoffMs(retryAfterMs) : 0;
    for (;;) {
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (this.#isOver) return;
      const { topic, producerId } = this.#options;
      try {
        const { lastSequence } = await positionOf(this.#client, topic, producerId);
        if (this.#isOver) return;
        for (const batch of this.#batches) batch.isSent = false;
        while (this.#batches.length > 0 && this.#batches[0]!.lastSequence <= lastSequence) {
          this.#done(this.#batches[0]!, (batch) => batch.resolve(() => duplicate));
          refused = undefined;
        }
        if (refused !== undefined && this.#batches[0] !== undefined) {
          const error = refused;
          refused = undefined;
          this.#done(this.#batches[0], (batch) => batch.reject(error));
        }
        this.#renumber(lastSequence);
        this.#connect();
        return;
      } catch (thrown) {
        const error = SluiceError.from(thrown);
        if (!retriable.has(error.code)) {
          this.#end(error);
          return;
        }
        waitMs = this.#backoffMs(error.retryAfterMs);
      }
    }
  }

  /** The first one goes on where the broker stands, unless part of it is stored already. */
  #renumber(storedSequence: bigint): void {
    const first = this.#batches[0];
    let next =
      first !== undefined && first.firstSequence <= storedSequence
        ? first.firstSequence
        : storedSequence + 1n;
    for (const batch of this.#batches) {
      batch.firstSequence = next;
      next = batch.lastSequence + 1n;
    }
    this.#lastSequence = next - 1n;
  }

  #backoffMs(askedMs: number | undefined): number {
    const { retryMinBackoffMs, retryMaxBackoffMs } = this.#options;
    const mostMs = Math.min(retryMaxBackoffMs, retryMinBackoffMs * 2 ** Math.min(this.#failures, 20));
    this.#failures++;
    return Math.max(askedMs ?? 0, mostMs * (0.5 + Math.random() / 2));
  }

  async #stored(batch: Batch, response: PublishStreamResponse): Promise<void> {
    const { durability } = response;
    const skipped = Number(response.duplicateCount);
    const stored = batch.messages.slice(skipped);
    let places = placesOf(stored, response.ranges, this.#partitionCount);
    if (places === undefined && this.#options.partition === undefined) {
      // The topic has more partitions than it had.
      this.#partitionCount = await partitionCountOf(this.#client, this.#options.topic);
      places = placesOf(stored, response.ranges, this.#partitionCount);
    }
    this.#done(batch, () =>
      batch.resolve((i) => {
        if (i < skipped) return duplicate;
        const place = places?.[i - skipped];
        return { partition: place?.partition, offset: place?.offset, durability, isDuplicate: false };
      }),
    );
  }

  #done(batch: Batch, answer: (batch: Batch) => void): void {
    this.#batches.shift();
    this.#bufferedBytes -= batch.byteLength;
    answer(batch);
    this.#room.changed();
    if (this.#batches.length === 0) for (const wake of this.#idleWaiters.splice(0)) wake();
  }

  #end(error: SluiceError): void {
    this.#state = { kind: 'over', error };
    this.#room.changed();
    this.#closeBatch();
    while (this.#batches.length > 0) this.#done(this.#batches[0]!, (batch) => batch.reject(error));
  }
}

const duplicate: Receipt = {
  partition: undefined,
  offset: undefined,
  durability: 0,
  isDuplicate: true,
};

function closed(): SluiceError {
  return new SluiceError('the producer is closed', { code: StatusCode.CANCELLED, reason: 'CLOSED' });
}

/** Where a producer stands; at the beginning where the broker knows neither it nor its topic. */
async function positionOf(
  client: SluiceClient,
  topic: string,
  producerId: string,
): Promise<{ readonly epoch: bigint; readonly lastSequence: bigint }> {
  try {
    return await client.broker.getProducer({ topic, producerId });
  } catch (thrown) {
    const error = SluiceError.from(thrown);
    if (error.reason !== 'PRODUCER_NOT_FOUND' && error.reason !== 'TOPIC_NOT_FOUND') throw error;
    return { epoch: 0n, lastSequence: 0n };
  }
}

/** A topic that is not there yet will be made with one. */
async function partitionCountOf(client: SluiceClient, topic: string): Promise<number> {
  try {
    const found = await client.admin.getTopic({ name: topic });
    return found.topic?.partitionCount ?? 1;
  } catch (thrown) {
    const error = SluiceError.from(thrown);
    if (error.reason !== 'TOPIC_NOT_FOUND') throw error;
    return 1;
  }
}
