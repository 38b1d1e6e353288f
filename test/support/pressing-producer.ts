import { fromBinary } from '@bufbuild/protobuf';
import {
  Broker,
  PublishStreamRequestSchema,
  PublishStreamResponseSchema,
} from '../../src/gen/sluice/v1/broker_pb.js';
import { encode, type RawConnection, type RawStatus, type RawStream } from './raw-grpc.js';

export interface PressingOptions {
  readonly topic: string;
  /** Each request is one message of about this size. */
  readonly requestBytes: number;
  /** Default: without end, until `finish`. */
  readonly requestCount?: number;
}

/**
 * A PublishStream that writes whenever the transport takes anything, and keeps one request ready: what stops it is
 * flow control, and nothing else. Checks that every batch is answered once, in order.
 */
export class PressingProducer {
  /** Requests that have left for the transport: the broker's receive window had room for them. */
  takenCount = 0;
  receiptedCount = 0;
  /** Reasons of refused batches, in order. */
  readonly refusals: string[] = [];
  readonly ended: Promise<RawStatus>;
  /** Resolves when all that `requestCount` allows has been written; not before `finish`, without one. */
  readonly allWritten: Promise<void>;
  readonly #stream: RawStream;
  readonly #options: PressingOptions;
  readonly #payload: Uint8Array;
  #onAllWritten: () => void = () => {};
  #writtenCount = 0;
  #isFinishing = false;

  constructor(connection: RawConnection, options: PressingOptions) {
    this.#options = options;
    this.#payload = Buffer.alloc(options.requestBytes, 'p');
    let end: (status: RawStatus) => void;
    this.ended = new Promise((resolve) => {
      end = resolve;
    });
    this.allWritten = new Promise((resolve) => {
      this.#onAllWritten = resolve;
    });
    this.#stream = connection.open(Broker.method.publishStream, {
      onMessage: (message) => this.#answered(message),
      onEnd: (status) => end(status),
    });
    this.#write();
  }

  /** Requests that were written, the one that may still wait in this process included. */
  get writtenCount(): number {
    return this.#writtenCount;
  }

  /** Writes nothing new; resolves when the stream has ended, which is after the last answer. */
  finish(): Promise<RawStatus> {
    this.#isFinishing = true;
    this.#stream.end();
    return this.ended;
  }

  cancel(): void {
    this.#stream.cancel();
  }

  #write(): void {
    if (this.#isFinishing || this.#writtenCount === this.#options.requestCount) {
      this.#onAllWritten();
      return;
    }
    this.#writtenCount++;
    const request = encode(PublishStreamRequestSchema, {
      topic: this.#options.topic,
      batchId: BigInt(this.#writtenCount),
      messages: [{ payload: this.#payload }],
    });
    this.#stream.write(request, () => {
      this.takenCount++;
      this.#write();
    });
  }

  #answered(message: Uint8Array): void {
    const { batchId, error } = fromBinary(PublishStreamResponseSchema, message);
    const expected = this.receiptedCount + this.refusals.length + 1;
    if (Number(batchId) !== expected) throw new Error(`an answer to batch ${batchId}, expected ${expected}`);
    if (error === undefined) this.receiptedCount++;
    else this.refusals.push(error.reason);
  }
}

/** Round trips without any progress, after which producers count as held. */
const idleRounds = 20;

/** Resolves when round trips to the broker pass and it takes nothing more from any of these producers. */
export async function untilHeld(
  producers: readonly PressingProducer[],
  roundTrip: () => Promise<unknown>,
): Promise<void> {
  const progress = () =>
    producers.reduce((sum, { takenCount, receiptedCount }) => sum + takenCount + receiptedCount, 0);
  for (let rounds = 0, before = -1; rounds < idleRounds; rounds++) {
    if (progress() !== before) rounds = 0;
    before = progress();
    await roundTrip();
  }
}

/** Resolves when round trips to the broker have brought `isDone` about. */
export async function untilTrue(isDone: () => boolean, roundTrip: () => Promise<unknown>): Promise<void> {
  while (!isDone()) await roundTrip();
}
