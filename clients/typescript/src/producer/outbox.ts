import { fromBinary } from '@bufbuild/protobuf';
import { Backoff, pause } from '../backoff.js';
import type { ByteStream } from '../calls.js';
import type { Client } from '../client.js';
import { SluiceError, StatusCode } from '../errors.js';
import {
  Broker,
  type PublishStreamResponse,
  PublishStreamResponseSchema,
} from '../gen/sluice/v1/broker_pb.js';
import type { Batch, Receipt } from './batch.js';
import { partitionCountOf, positionOf } from './broker-state.js';
import { type Failure, isFinal, isRetriable, isUnreadable } from './failure.js';
import type { CompleteOptions } from './options.js';
import { placesOf } from './routing.js';

/** How it stands with the broker. */
type State =
  /** Batches go out over the stream. */
  | { readonly kind: 'streaming'; readonly stream: ByteStream }
  /** Nothing goes out: the stream broke, or a batch was refused and those behind it have to be answered first. */
  | { readonly kind: 'recovering' }
  /** For good. */
  | { readonly kind: 'over'; readonly error: SluiceError };

export interface OutboxEvents {
  /** A batch has its answer, and takes no room any more. */
  answered(batch: Batch): void;
  /** The producer is over: nothing goes out any more. */
  over(error: SluiceError): void;
}

/** How long the broker may take to say where the producer stands. */
const positionTimeoutMs = 10_000;

/** The batches of a producer from when they are closed until they are answered: each stored once, and in order. */
export class Outbox {
  readonly #client: Client;
  readonly #options: CompleteOptions;
  readonly #events: OutboxEvents;
  readonly #backoff: Backoff;
  readonly #epoch: bigint;
  /** Not answered yet, oldest first. */
  readonly #batches: Batch[] = [];
  #state: State = { kind: 'recovering' };
  #isWriting = false;
  /** A stream was refused without a word about which batch it was for: they go one by one until one is stored. */
  #isProbing = false;
  #lastSequence: bigint;
  #partitionCount: number;
  #expiry: NodeJS.Timeout | undefined;

  constructor(
    client: Client,
    options: CompleteOptions,
    start: { readonly epoch: bigint; readonly lastSequence: bigint; readonly partitionCount: number },
    events: OutboxEvents,
  ) {
    this.#client = client;
    this.#options = options;
    this.#events = events;
    this.#backoff = new Backoff(options);
    this.#epoch = start.epoch;
    this.#lastSequence = start.lastSequence;
    this.#partitionCount = start.partitionCount;
    this.#connect();
  }

  get lastSequence(): bigint {
    return this.#lastSequence;
  }

  /** Takes a complete batch. */
  add(batch: Batch): void {
    batch.firstSequence = this.#lastSequence + 1n;
    this.#lastSequence = batch.lastSequence;
    batch.closedAtMs = performance.now();
    this.#batches.push(batch);
    this.#watchExpiry();
    void this.#write();
  }

  /** The batch that is answered last, of those that are here now. */
  get newest(): Batch | undefined {
    return this.#batches.at(-1);
  }

  /** Everything is answered: ends the stream. */
  close(error: SluiceError): void {
    if (this.#state.kind === 'over') return;
    if (this.#state.kind === 'streaming') this.#state.stream.end();
    this.#state = { kind: 'over', error };
  }

  /** Writes what may be under way, in order, as the transport takes it. */
  async #write(): Promise<void> {
    if (this.#isWriting) return;
    this.#isWriting = true;
    while (this.#state.kind === 'streaming') {
      const { stream } = this.#state;
      const mostUnderWay = this.#isProbing ? 1 : this.#options.maxInFlight;
      const next = this.#batches.slice(0, mostUnderWay).find(({ isSent }) => !isSent);
      if (next === undefined) break;
      next.isSent = true;
      // A stream that is over says so where its answers are read.
      await stream.write(next.encode()).catch(() => {});
    }
    this.#isWriting = false;
  }

  #connect(): void {
    const stream = this.#client.openBytes(Broker.method.publishStream);
    this.#state = { kind: 'streaming', stream };
    void this.#read(stream);
    void this.#write();
  }

  /** Reads answers until the stream is over or has to be given up, and then recovers. */
  async #read(stream: ByteStream): Promise<void> {
    let failure: Failure | undefined;
    try {
      for await (const bytes of stream) {
        const response = fromBinary(PublishStreamResponseSchema, bytes);
        const batch = this.#batches[0];
        if (batch === undefined || response.batchId !== batch.firstSequence) throw unknownBatch();
        if (response.error !== undefined) {
          failure = { error: SluiceError.fromPublishError(response.error), isOfBatch: true };
          break;
        }
        await this.#stored(batch, response);
        this.#backoff.reset();
        this.#isProbing = false;
        void this.#write();
      }
    } catch (thrown) {
      failure = { error: SluiceError.from(thrown), isOfBatch: false };
    }
    if (this.#isOn(stream)) await this.#recover(failure);
  }

  /** Whether the stream is the one in use. */
  #isOn(stream: ByteStream): boolean {
    return this.#state.kind === 'streaming' && this.#state.stream === stream;
  }

  /**
   * Asks the broker what it has, which answers only what is durable; fails the oldest batch if that is what was refused
   * for good, and those whose time is over; numbers the others so that nothing is missing; and goes on over a new stream.
   */
  async #recover(failure: Failure | undefined): Promise<void> {
    if (this.#state.kind === 'streaming') this.#state.stream.cancel();
    this.#state = { kind: 'recovering' };
    if (failure !== undefined && isFinal(failure.error)) {
      this.#end(failure.error);
      return;
    }
    let cause = failure?.error;
    const refused = this.#refusal(failure);
    // What was refused for good is no reason to wait.
    let waitMs = refused === undefined ? this.#backoff.nextMs(cause?.retryAfterMs) : 0;
    while (this.#state.kind === 'recovering') {
      await pause(Math.min(waitMs, this.#untilExpiryMs));
      try {
        const { topic, producerId, retryTimeoutMs = positionTimeoutMs } = this.#options;
        const timeoutMs = Math.max(1, Math.min(positionTimeoutMs, retryTimeoutMs));
        const { epoch, lastSequence } = await positionOf(this.#client, topic, producerId, { timeoutMs });
        if (this.#state.kind !== 'recovering') return;
        // What somebody stored who has taken over is not ours: the broker says so to whatever is sent next.
        this.#resume(epoch > this.#epoch ? this.#answeredSequence : lastSequence, refused, cause);
        return;
      } catch (thrown) {
        cause = SluiceError.from(thrown);
        if (isFinal(cause) || !isRetriable({ error: cause, isOfBatch: false })) {
          this.#end(cause);
          return;
        }
        this.#failExpired(cause);
        waitMs = this.#backoff.nextMs(cause.retryAfterMs);
      }
    }
  }

  /** Why the oldest batch was refused for good; undefined where it was not, or where that is not known yet. */
  #refusal(failure: Failure | undefined): SluiceError | undefined {
    if (failure === undefined) return undefined;
    const sentCount = this.#batches.filter(({ isSent }) => isSent).length;
    if (isRetriable(failure) && !(sentCount > 0 && isUnreadable(failure))) return undefined;
    // Any of those that were under way may be meant. One that goes alone is it.
    if (!failure.isOfBatch && sentCount > 1) {
      this.#isProbing = true;
      return undefined;
    }
    return failure.error;
  }

  /** Everything up to here has its answer. */
  get #answeredSequence(): bigint {
    const [oldest] = this.#batches;
    return oldest === undefined ? this.#lastSequence : oldest.firstSequence - 1n;
  }

  #resume(storedSequence: bigint, refused: SluiceError | undefined, cause: SluiceError | undefined): void {
    let hasStored = false;
    for (const batch of this.#batches) batch.isSent = false;
    for (let first = this.#batches[0]; first !== undefined; first = this.#batches[0]) {
      if (first.lastSequence > storedSequence) break;
      this.#done(first, (batch) => batch.resolve(() => duplicate));
      hasStored = true;
    }
    // What was refused is the oldest that has no answer: unless that turns out to be stored, and the answer was lost.
    const [oldest] = this.#batches;
    if (refused !== undefined && !hasStored && oldest !== undefined) {
      this.#done(oldest, (batch) => batch.reject(refused));
    }
    this.#failExpired(cause);
    this.#renumber(storedSequence);
    this.#connect();
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

  async #stored(batch: Batch, response: PublishStreamResponse): Promise<void> {
    const { durability, ranges } = response;
    const skipped = Number(response.duplicateCount);
    const stored = skipped === 0 ? batch.keyHashes : batch.keyHashes.slice(skipped);
    let places = placesOf(stored, ranges, this.#partitionCount);
    if (places === undefined && this.#options.partition === undefined) {
      // The topic has more partitions than it had.
      this.#partitionCount = await partitionCountOf(this.#client, this.#options.topic);
      places = placesOf(stored, ranges, this.#partitionCount);
      // Meanwhile its time may have run out.
      if (this.#batches[0] !== batch) return;
    }
    this.#done(batch, () =>
      batch.resolve((i) => {
        if (i < skipped) return duplicate;
        const place = places?.[i - skipped];
        return { partition: place?.partition, offset: place?.offset, durability, isDuplicate: false };
      }),
    );
  }

  // --- The time that a batch has ---------------------------------------------------------------------------

  /** Of the oldest batch. */
  get #untilExpiryMs(): number {
    const { retryTimeoutMs } = this.#options;
    const [oldest] = this.#batches;
    if (retryTimeoutMs === undefined || oldest === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(0, oldest.closedAtMs + retryTimeoutMs - performance.now());
  }

  /** While nothing is answered, somebody has to look at the clock. */
  #watchExpiry(): void {
    if (this.#expiry !== undefined || this.#untilExpiryMs === Number.POSITIVE_INFINITY) return;
    this.#expiry = setTimeout(() => {
      this.#expiry = undefined;
      // Without a stream, whoever recovers looks at the clock himself.
      if (this.#untilExpiryMs === 0 && this.#state.kind === 'streaming') void this.#recover(undefined);
      else this.#watchExpiry();
    }, this.#untilExpiryMs + 1);
  }

  #failExpired(cause: SluiceError | undefined): void {
    while (this.#untilExpiryMs === 0) {
      const text = `not stored within ${this.#options.retryTimeoutMs} ms`;
      const error = new SluiceError(cause === undefined ? text : `${text}: ${cause.message}`, {
        code: StatusCode.DEADLINE_EXCEEDED,
        reason: 'RETRY_TIMEOUT',
        cause,
      });
      this.#done(this.#batches[0]!, (batch) => batch.reject(error));
    }
  }

  #done(batch: Batch, answer: (batch: Batch) => void): void {
    this.#batches.shift();
    if (this.#batches.length === 0) {
      clearTimeout(this.#expiry);
      this.#expiry = undefined;
    }
    answer(batch);
    this.#events.answered(batch);
  }

  #end(error: SluiceError): void {
    this.#state = { kind: 'over', error };
    this.#events.over(error);
    while (this.#batches.length > 0) this.#done(this.#batches[0]!, (batch) => batch.reject(error));
  }
}

const duplicate: Receipt = {
  partition: undefined,
  offset: undefined,
  durability: 0,
  isDuplicate: true,
};

function unknownBatch(): SluiceError {
  const text = 'an answer to no batch that is under way';
  return new SluiceError(text, { code: StatusCode.INTERNAL, reason: 'INTERNAL' });
}
