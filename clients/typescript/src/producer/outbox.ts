import { fromBinary } from '@bufbuild/protobuf';
import { Backoff, pause } from '../backoff.js';
import type { BrokerAccess } from '../broker-access.js';
import type { ByteStream } from '../calls.js';
import { SluiceError } from '../errors.js';
import {
  Broker,
  type PublishStreamResponse,
  PublishStreamResponseSchema,
} from '../gen/sluice/v1/broker_pb.js';
import { type Batch, duplicate } from './batch.js';
import {
  callTimeoutMs,
  claim,
  newClaimId,
  type Position,
  partitionCountOf,
  positionOf,
} from './broker-state.js';
import {
  type Failure,
  fenced,
  isBareExhaustion,
  isFinal,
  isPassing,
  isRetriable,
  notInTime,
  streamEnded,
  unknownBatch,
} from './failure.js';
import type { CompleteOptions } from './options.js';
import type { OutboxEvents, OutboxState, Recovery } from './outbox-state.js';
import { placesOf } from './routing.js';

/** A batch that is alone under way fails when a proxy or library has refused it this many times in a row. */
const maxExhaustions = 5;
/** How long the broker may take to end a stream after the client has closed its half. */
const endTimeoutMs = 5_000;

/**
 * The closed batches of a producer, until they are answered. Each is stored once, and in order.
 *
 * Within an epoch, a number that was sent is never given to another message, because the first copy may still be in a
 * dead connection and reach the broker later. So after a sent batch was given up or refused, the outbox renews the
 * epoch before it sends the next batch. From then on, the broker refuses all batches of the old epoch.
 */
export class Outbox {
  readonly #client: BrokerAccess;
  readonly #options: CompleteOptions;
  readonly #events: OutboxEvents;
  readonly #backoff: Backoff;
  readonly #ending = new AbortController();
  #epoch: bigint;
  /** A batch that was sent in this epoch was given up or refused. */
  #mustRenew = false;
  /** The batches without an answer, oldest first. */
  readonly #batches: Batch[] = [];
  /** The number of these batches that were written to the current stream. */
  #sentCount = 0;
  /** The number of the last message that was written to the current stream, or is known to be stored. */
  #numberedSequence: bigint;
  #state: OutboxState = { kind: 'recovering' };
  #isWriting = false;
  /** The error of a stream did not name the refused batch: batches are sent one by one until one is stored. */
  #isProbing = false;
  #partitionCount: number;
  #expiry: NodeJS.Timeout | undefined;
  /** The error of the last stream, while there is no stream. */
  #cause: SluiceError | undefined;

  constructor(
    client: BrokerAccess,
    options: CompleteOptions,
    start: Position & { readonly partitionCount: number },
    events: OutboxEvents,
  ) {
    this.#client = client;
    this.#options = options;
    this.#events = events;
    this.#backoff = new Backoff(options);
    this.#epoch = start.epoch;
    this.#numberedSequence = start.lastSequence;
    this.#partitionCount = start.partitionCount;
    this.#connect();
  }

  /** The number of the last message that is here or answered. */
  get lastSequence(): bigint {
    let last = this.#numberedSequence;
    for (let i = this.#sentCount; i < this.#batches.length; i++) last += BigInt(this.#batches[i]!.count);
    return last;
  }

  /** Whether a batch would be sent at once. Otherwise it may take more messages. */
  get hasSlot(): boolean {
    return this.#state.kind === 'streaming' && this.#batches.length < this.#mostUnderWay;
  }

  /** Takes a complete batch. */
  add(batch: Batch): void {
    if (this.#state.kind === 'over') {
      batch.reject(this.#state.error);
      this.#events.answered(batch);
      return;
    }
    this.#batches.push(batch);
    this.#watchExpiry();
    void this.#write();
  }

  /** The batch that was added last. */
  get newest(): Batch | undefined {
    return this.#batches.at(-1);
  }

  /** Ends the stream, after all batches were answered. */
  close(error: SluiceError): void {
    const state = this.#state;
    if (state.kind === 'over') return;
    this.#state = { kind: 'over', error };
    this.#ending.abort();
    if (state.kind !== 'streaming') return;
    state.stream.end();
    // The stream must not keep a dead connection open.
    setTimeout(() => state.stream.cancel(), endTimeoutMs).unref();
  }

  get #mostUnderWay(): number {
    return this.#isProbing ? 1 : this.#options.maxInFlight;
  }

  /** Sends batches in their order, as many as may be under way and as the transport accepts. */
  async #write(): Promise<void> {
    if (this.#isWriting) return;
    this.#isWriting = true;
    while (this.#state.kind === 'streaming') {
      const { stream } = this.#state;
      const next = this.#sentCount < this.#mostUnderWay ? this.#batches[this.#sentCount] : undefined;
      if (next === undefined) break;
      this.#sentCount++;
      next.wasSent = true;
      next.firstSequence = this.#numberedSequence + 1n;
      this.#numberedSequence = next.lastSequence;
      // The reader of the stream gets the error of a stream that has ended.
      await stream.write(next.encode(this.#epoch)).catch(() => {});
    }
    this.#isWriting = false;
  }

  #connect(): void {
    const stream = this.#client.openBytes(Broker.method.publishStream);
    this.#state = { kind: 'streaming', stream };
    this.#cause = undefined;
    void this.#read(stream);
    void this.#write();
    if (this.hasSlot) this.#events.slotFree();
  }

  /** Reads answers until the stream has ended or is given up, and then recovers. */
  async #read(stream: ByteStream): Promise<void> {
    let failure: Failure | undefined;
    try {
      for await (const bytes of stream) {
        // An answer of a stream that was given up may be for another epoch.
        if (!this.#isOn(stream)) return;
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
      failure ??= { error: streamEnded(), isOfBatch: false };
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
   * Asks the broker for the durable position of the producer, fails the oldest batch if it was refused finally, and
   * continues over a new stream. Batches can expire meanwhile. `failure` is undefined if the stream did not fail, but a
   * batch on it was given up.
   */
  async #recover(failure: Failure | undefined): Promise<void> {
    const refused = this.#refusal(failure);
    const recovery: Recovery = { oldest: this.#batches[0], refused, claimId: undefined };
    this.#leaveStream();
    if (failure !== undefined && isFinal(failure.error)) {
      this.#end(failure.error);
      return;
    }
    this.#cause = failure?.error;
    // A batch that was refused or given up is no reason for a backoff.
    let waitMs: number | undefined =
      refused !== undefined || failure === undefined ? 0 : this.#failed(failure.error);
    while (waitMs !== undefined) {
      if (waitMs > 0) await pause(waitMs, this.#ending.signal);
      waitMs = await this.#resume(recovery);
    }
  }

  /** Makes one attempt. Returns the delay before the next attempt; undefined if none is needed. */
  async #resume(recovery: Recovery): Promise<number | undefined> {
    if (this.#state.kind !== 'recovering') return undefined;
    const isRenewing = this.#mustRenew || recovery.refused !== undefined;
    if (isRenewing) recovery.claimId ??= newClaimId();
    try {
      const position = await this.#ask(recovery.claimId);
      if (this.#state.kind !== 'recovering') return undefined;
      this.#client.connectionStates.answered();
      if (isRenewing) this.#renewed(position, recovery);
      else if (!this.#isUsable(position)) return this.#mustRenew ? 0 : undefined;
      this.#numberedSequence = position.lastSequence;
      this.#connect();
      return undefined;
    } catch (thrown) {
      const error = SluiceError.from(thrown);
      if (isFinal(error) || !isPassing(error)) {
        this.#end(error);
        return undefined;
      }
      this.#cause = error;
      return this.#failed(error);
    }
  }

  /** The producer has a new epoch. The oldest batch fails if it was refused finally. */
  #renewed(position: Position, { oldest, refused }: Recovery): void {
    this.#settleStored(position.lastSequence);
    this.#epoch = position.epoch;
    this.#mustRenew = false;
    // From now on, the broker refuses copies that were sent in the old epoch.
    for (const batch of this.#batches) batch.wasSent = false;
    // Not if the batch was stored and only its answer was lost, or if it has expired.
    if (refused !== undefined && oldest !== undefined && this.#batches[0] === oldest) {
      this.#done(oldest, (batch) => batch.reject(refused));
    }
  }

  /** Whether batches can continue at this position. If not, a new epoch is needed, or the producer has ended. */
  #isUsable({ epoch, lastSequence }: Position): boolean {
    if (epoch !== this.#epoch) {
      this.#end(fenced(this.#options.producerId, this.#epoch, epoch));
      return false;
    }
    this.#settleStored(lastSequence);
    this.#mustRenew = this.#wouldReuse(lastSequence);
    return !this.#mustRenew;
  }

  /** Gives up the stream: no batch is sent. */
  #leaveStream(): void {
    if (this.#state.kind === 'streaming') this.#state.stream.cancel();
    this.#state = { kind: 'recovering' };
    if (this.#sentCount > 0) this.#numberedSequence = this.#batches[0]!.firstSequence - 1n;
    this.#sentCount = 0;
  }

  /** Renews the claim if there is a claim id. Otherwise only asks for the position. */
  #ask(claimId: bigint | undefined): Promise<Position> {
    const options = { timeoutMs: callTimeoutMs, signal: this.#ending.signal };
    const { topic, producerId } = this.#options;
    return claimId === undefined
      ? positionOf(this.#client, topic, producerId, options)
      : claim(this.#client, this.#options, { claimId, currentEpoch: this.#epoch }, options);
  }

  /** Returns the delay before the next attempt. */
  #failed(error: SluiceError): number {
    const waitMs = this.#backoff.nextMs(error.retryAfterMs);
    this.#client.connectionStates.failed(error, waitMs);
    return waitMs;
  }

  /** The error that refuses the oldest batch finally; undefined if there is none, or if it is not known yet. */
  #refusal(failure: Failure | undefined): SluiceError | undefined {
    const [oldest] = this.#batches;
    if (failure === undefined || oldest === undefined || this.#sentCount === 0) return undefined;
    const isExhaustion = isBareExhaustion(failure);
    if (!isExhaustion) oldest.exhaustionCount = 0;
    if (isRetriable(failure) && !isExhaustion) return undefined;
    // The error can be for any batch under way. If one batch was under way, the error is for this batch.
    if (!failure.isOfBatch && this.#sentCount > 1) {
      this.#isProbing = true;
      return undefined;
    }
    return isExhaustion && ++oldest.exhaustionCount < maxExhaustions ? undefined : failure.error;
  }

  /** Resolves the batches that are stored up to this number, whose answers were lost. */
  #settleStored(storedSequence: bigint): void {
    for (let first = this.#batches[0]; first?.wasSent === true; first = this.#batches[0]) {
      if (first.lastSequence > storedSequence) break;
      this.#numberedSequence = first.lastSequence;
      this.#done(first, (batch) => batch.resolve(() => duplicate));
    }
  }

  /** Whether the next message would get another number than the number with which it was sent. */
  #wouldReuse(storedSequence: bigint): boolean {
    const [first] = this.#batches;
    return this.#mustRenew || (first?.wasSent === true && first.firstSequence !== storedSequence + 1n);
  }

  async #stored(batch: Batch, response: PublishStreamResponse): Promise<void> {
    const { durability, ranges } = response;
    const skipped = Number(response.duplicateCount);
    const stored = skipped === 0 ? batch.keyHashes : batch.keyHashes.slice(skipped);
    let places = placesOf(stored, ranges, this.#partitionCount);
    if (places === undefined && this.#options.partition === undefined) {
      // The topic has got more partitions.
      this.#partitionCount = await partitionCountOf(this.#client, this.#options.topic);
      places = placesOf(stored, ranges, this.#partitionCount);
      // The batch may have expired meanwhile.
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

  // --- Expiry ----------------------------------------------------------------------------------------------

  /** The time until the oldest batch expires. */
  get #untilExpiryMs(): number {
    const { retryTimeoutMs } = this.#options;
    const [oldest] = this.#batches;
    if (retryTimeoutMs === undefined || oldest === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(0, oldest.openedAtMs + retryTimeoutMs - performance.now());
  }

  /** Sets the timer of the oldest batch, which expires whatever the broker does. */
  #watchExpiry(): void {
    if (this.#expiry !== undefined || this.#untilExpiryMs === Number.POSITIVE_INFINITY) return;
    this.#expiry = setTimeout(() => {
      this.#expiry = undefined;
      this.#failExpired();
      this.#watchExpiry();
    }, this.#untilExpiryMs + 1);
  }

  #failExpired(): void {
    const isBreaking = this.#untilExpiryMs === 0 && this.#sentCount > 0;
    if (isBreaking) this.#leaveStream();
    while (this.#untilExpiryMs === 0) {
      const oldest = this.#batches[0]!;
      this.#mustRenew ||= oldest.wasSent;
      this.#done(oldest, (batch) => batch.reject(notInTime(this.#options.retryTimeoutMs, this.#cause)));
    }
    if (isBreaking) void this.#recover(undefined);
  }

  #done(batch: Batch, answer: (batch: Batch) => void): void {
    this.#batches.shift();
    if (this.#sentCount > 0) this.#sentCount--;
    if (this.#batches.length === 0) {
      clearTimeout(this.#expiry);
      this.#expiry = undefined;
    }
    answer(batch);
    this.#events.answered(batch);
    if (this.hasSlot) this.#events.slotFree();
  }

  #end(error: SluiceError): void {
    this.#state = { kind: 'over', error };
    this.#ending.abort();
    this.#events.over(error);
    while (this.#batches.length > 0) this.#done(this.#batches[0]!, (batch) => batch.reject(error));
  }
}
