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
import { placesOf } from './routing.js';

/** How it stands with the broker. */
type State =
  /** Batches go out over the stream. */
  | { readonly kind: 'streaming'; readonly stream: ByteStream }
  /** Nothing goes out: the stream broke, or a batch was refused and those behind it have to be answered first. */
  | { readonly kind: 'recovering' }
  /** For good. */
  | { readonly kind: 'over'; readonly error: SluiceError };

/** One recovery, over all of its tries. */
interface Recovery {
  readonly oldest: Batch | undefined;
  /** Why the oldest batch was refused for good. */
  readonly refused: SluiceError | undefined;
  /** The same for each try: a try whose answer was lost must not claim a second epoch. */
  claimId: bigint | undefined;
}

export interface OutboxEvents {
  /** A batch has its answer, and takes no room any more. */
  answered(batch: Batch): void;
  /** `hasSlot` is true again. */
  slotFree(): void;
  /** The producer is over: nothing goes out any more. */
  over(error: SluiceError): void;
}

/** So often may a batch that is alone under way be refused by something in between, before it fails. */
const maxExhaustions = 5;
/** How long the broker may take to end a stream that this side has ended. */
const endTimeoutMs = 5_000;

/**
 * The batches of a producer from when they are closed until they are answered: each stored once, and in order.
 *
 * A number that was sent is never given to another message in the same epoch: what was sent may lie in a dead connection
 * and reach the broker later. So once a batch that was sent is given up or refused, the epoch is renewed before anything
 * else goes out; the broker then refuses whatever still comes of the old epoch.
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
  /** Not answered yet, oldest first. */
  readonly #batches: Batch[] = [];
  /** How many of them were written to the current stream. */
  #sentCount = 0;
  /** Of the last message of the last batch that was written to the current stream, or is known to be stored. */
  #numberedSequence: bigint;
  #state: State = { kind: 'recovering' };
  #isWriting = false;
  /** A stream was refused without a word about which batch it was for: they go one by one until one is stored. */
  #isProbing = false;
  #partitionCount: number;
  #expiry: NodeJS.Timeout | undefined;
  /** Why the stream broke, while there is none. */
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

  /** Of the last message that is here or answered. */
  get lastSequence(): bigint {
    let last = this.#numberedSequence;
    for (let i = this.#sentCount; i < this.#batches.length; i++) last += BigInt(this.#batches[i]!.count);
    return last;
  }

  /** A batch could go out at once: otherwise it may as well gather some more. */
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

  /** The batch that is answered last, of those that are here now. */
  get newest(): Batch | undefined {
    return this.#batches.at(-1);
  }

  /** Everything is answered: ends the stream. */
  close(error: SluiceError): void {
    const state = this.#state;
    if (state.kind === 'over') return;
    this.#state = { kind: 'over', error };
    this.#ending.abort();
    if (state.kind !== 'streaming') return;
    state.stream.end();
    // A connection that is dead must not be held open by it.
    setTimeout(() => state.stream.cancel(), endTimeoutMs).unref();
  }

  get #mostUnderWay(): number {
    return this.#isProbing ? 1 : this.#options.maxInFlight;
  }

  /** Writes what may be under way, in order, as the transport takes it. */
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
      // A stream that is over says so where its answers are read.
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

  /** Reads answers until the stream is over or has to be given up, and then recovers. */
  async #read(stream: ByteStream): Promise<void> {
    let failure: Failure | undefined;
    try {
      for await (const bytes of stream) {
        // What was received before the stream was given up may be of another epoch.
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
   * Asks the broker what it has, which answers only what is durable; fails the oldest batch if that is what was refused
   * for good; and goes on over a new stream. Batches whose time is over fail meanwhile. Without a failure the stream is
   * well, but a batch on it was given up.
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
    // What was refused for good, or was given up, is no reason to wait.
    let waitMs: number | undefined =
      refused !== undefined || failure === undefined ? 0 : this.#failed(failure.error);
    while (waitMs !== undefined) {
      if (waitMs > 0) await pause(waitMs, this.#ending.signal);
      waitMs = await this.#resume(recovery);
    }
  }

  /** Asks once. Answers how long to wait before the next try; undefined where none is needed. */
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

  /** The producer has a new epoch. The oldest batch fails if it was refused for good. */
  #renewed(position: Position, { oldest, refused }: Recovery): void {
    this.#settleStored(position.lastSequence);
    this.#epoch = position.epoch;
    this.#mustRenew = false;
    // What was sent in the old epoch is refused from now on.
    for (const batch of this.#batches) batch.wasSent = false;
    // Unless it turned out to be stored, and the answer was lost; or its time was over.
    if (refused !== undefined && oldest !== undefined && this.#batches[0] === oldest) {
      this.#done(oldest, (batch) => batch.reject(refused));
    }
  }

  /** Whether batches can go on from this position. If not, a new epoch is needed, or the producer is at its end. */
  #isUsable({ epoch, lastSequence }: Position): boolean {
    if (epoch !== this.#epoch) {
      this.#end(fenced(this.#options.producerId, this.#epoch, epoch));
      return false;
    }
    this.#settleStored(lastSequence);
    this.#mustRenew = this.#wouldReuse(lastSequence);
    return !this.#mustRenew;
  }

  /** Nothing goes out any more. */
  #leaveStream(): void {
    if (this.#state.kind === 'streaming') this.#state.stream.cancel();
    this.#state = { kind: 'recovering' };
    if (this.#sentCount > 0) this.#numberedSequence = this.#batches[0]!.firstSequence - 1n;
    this.#sentCount = 0;
  }

  /** Renews the claim, where there is a number for that; otherwise only looks. */
  #ask(claimId: bigint | undefined): Promise<Position> {
    const options = { timeoutMs: callTimeoutMs, signal: this.#ending.signal };
    const { topic, producerId } = this.#options;
    return claimId === undefined
      ? positionOf(this.#client, topic, producerId, options)
      : claim(this.#client, this.#options, { claimId, currentEpoch: this.#epoch }, options);
  }

  /** Says how long to wait before the next try. */
  #failed(error: SluiceError): number {
    const waitMs = this.#backoff.nextMs(error.retryAfterMs);
    this.#client.connectionStates.failed(error, waitMs);
    return waitMs;
  }

  /** Why the oldest batch was refused for good; undefined where it was not, or where that is not known yet. */
  #refusal(failure: Failure | undefined): SluiceError | undefined {
    const [oldest] = this.#batches;
    if (failure === undefined || oldest === undefined || this.#sentCount === 0) return undefined;
    const isExhaustion = isBareExhaustion(failure);
    if (!isExhaustion) oldest.exhaustionCount = 0;
    if (isRetriable(failure) && !isExhaustion) return undefined;
    // Any of those that were under way may be meant. One that goes alone is it.
    if (!failure.isOfBatch && this.#sentCount > 1) {
      this.#isProbing = true;
      return undefined;
    }
    return isExhaustion && ++oldest.exhaustionCount < maxExhaustions ? undefined : failure.error;
  }

  /** Batches that the broker has up to this number have their answer: it was lost. */
  #settleStored(storedSequence: bigint): void {
    for (let first = this.#batches[0]; first?.wasSent === true; first = this.#batches[0]) {
      if (first.lastSequence > storedSequence) break;
      this.#numberedSequence = first.lastSequence;
      this.#done(first, (batch) => batch.resolve(() => duplicate));
    }
  }

  /** The next message would get another number than it was sent with. */
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
    return Math.max(0, oldest.openedAtMs + retryTimeoutMs - performance.now());
  }

  /** Whatever the broker does or does not do, the time of a batch runs. */
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
