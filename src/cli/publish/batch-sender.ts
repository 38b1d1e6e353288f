import type { MessageInitShape } from '@bufbuild/protobuf';
import { type BidiStream, SluiceError, StatusCode } from '@sluice/client';
import type {
  Durability,
  Message,
  PublishStreamRequestSchema,
  PublishStreamResponse,
} from '@sluice/client/api';
import type { Clock } from '../../base/clock.js';
import { limits } from '../../base/limits.js';
import { secondMs } from '../../base/units.js';
import { type Range, RangeSet } from '../positions.js';

export interface Batch {
  /** The number of its first line, from 1. */
  readonly firstLine: number;
  readonly messages: Message[];
}

export interface SenderOptions {
  readonly topic: string;
  readonly partition: number | undefined;
  /** The sequence of a message is the number of its line. */
  readonly producer: { readonly producerId: string; readonly epoch: bigint } | undefined;
  readonly maxInFlight: number;
  readonly clock: Clock;
  /** When it aborts, nothing more is sent, and batches under way get a moment to be answered. */
  readonly interrupted: AbortSignal;
  /** Called for every receipt. */
  readonly onReceipt: () => void;
}

/** Lines that the broker refused or did not answer. */
export interface UnstoredLines {
  readonly first: number;
  readonly last: number;
  readonly error: SluiceError;
  /** The broker refused them: they were not stored. Otherwise it is unknown whether they were. */
  readonly isRefused: boolean;
}

export interface SendResult {
  /** Durable lines, including duplicates. */
  readonly storedCount: number;
  readonly duplicateCount: number;
  readonly ranges: readonly Range[];
  readonly durability: Durability | undefined;
  /** Later lines were not sent. */
  readonly lastSentLine: number;
  /** In order of lines; empty if everything is durable. */
  readonly unstored: readonly UnstoredLines[];
}

type Call = BidiStream<MessageInitShape<typeof PublishStreamRequestSchema>, PublishStreamResponse>;

/** Sends batches over one PublishStream, many at once, and records what is durable. */
export class BatchSender {
  readonly #call: Call;
  readonly #options: SenderOptions;
  readonly #inFlight = new Map<bigint, { first: number; last: number }>();
  readonly #ranges = new RangeSet();
  readonly #unstored: UnstoredLines[] = [];
  readonly #finished: Promise<void>;
  #lastBatchId = 0n;
  #nextLine = 1;
  #isEnded = false;
  #storedCount = 0;
  #duplicateCount = 0;
  #durability: Durability | undefined;
  #wakeSender: (() => void) | undefined;
  /** The call was cancelled: the broker had time to answer the batches under way. */
  #isGivenUp = false;
  #tellInterruption: () => void = () => {};
  readonly #interruption = new Promise<void>((resolve) => {
    this.#tellInterruption = resolve;
  });

  constructor(call: Call, options: SenderOptions) {
    this.#call = call;
    this.#options = options;
    this.#finished = this.#receive();
    const { interrupted } = options;
    if (interrupted.aborted) this.#interrupt();
    else interrupted.addEventListener('abort', () => this.#interrupt(), { once: true });
  }

  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  get storedCount(): number {
    return this.#storedCount;
  }

  /** A batch was refused, or the call has ended: more batches would only enlarge the gap. */
  get hasFailed(): boolean {
    return this.#unstored.length > 0;
  }

  /** Sends a batch, in the order of the calls. Resolves when there is room for another one. */
  async send({ firstLine, messages }: Batch): Promise<void> {
    const { topic, partition, producer } = this.#options;
    const batchId = ++this.#lastBatchId;
    this.#nextLine = firstLine + messages.length;
    this.#inFlight.set(batchId, { first: firstLine, last: this.#nextLine - 1 });
    const written = this.#call
      .write({
        batchId,
        topic,
        messages,
        ...(partition !== undefined && { partition }),
        ...(producer !== undefined && { producer: { ...producer, firstSequence: BigInt(firstLine) } }),
      })
      // The call has ended: `#receive` gets the reason, and handles the batches under way.
      .catch(() => this.#finished);
    // A broker that holds the stream does not read it: the batch waits here, but an interrupt must still end the
    // command.
    await Promise.race([written, this.#interruption]);
    while (this.#inFlight.size >= this.#options.maxInFlight && !this.hasFailed && !this.#isInterrupted) {
      await new Promise<void>((resolve) => {
        this.#wakeSender = resolve;
      });
    }
  }

  get #isInterrupted(): boolean {
    return this.#options.interrupted.aborted;
  }

  #interrupt(): void {
    this.#tellInterruption();
    this.#wakeSender?.();
    this.#options.clock.after(limits.cliInterruptGraceMs, () => {
      this.#isGivenUp = true;
      this.#call.cancel();
    });
  }

  /** No more batches follow. Resolves when all are answered, or the call has ended. */
  async finish(): Promise<SendResult> {
    this.#isEnded = true;
    this.#call.end();
    await this.#finished;
    return {
      storedCount: this.#storedCount,
      duplicateCount: this.#duplicateCount,
      ranges: this.#ranges.toArray(),
      durability: this.#durability,
      lastSentLine: this.#nextLine - 1,
      unstored: this.#unstored.toSorted((a, b) => a.first - b.first),
    };
  }

  async #receive(): Promise<void> {
    let failure = new SluiceError('the broker ended the stream before its last receipt', {
      code: StatusCode.UNKNOWN,
      reason: 'UNKNOWN',
    });
    try {
      for await (const response of this.#call) this.#account(response);
    } catch (error) {
      failure = this.#isGivenUp ? interruptedError() : SluiceError.from(error);
    }
    for (const lines of this.#inFlight.values()) {
      this.#unstored.push({ ...lines, error: failure, isRefused: false });
    }
    // No batch was under way, but there is more to send: its first line is the first missing one.
    if (this.#inFlight.size === 0 && !this.#isEnded) {
      this.#unstored.push({ first: this.#nextLine, last: this.#nextLine, error: failure, isRefused: true });
    }
    this.#inFlight.clear();
    this.#wakeSender?.();
  }

  #account(response: PublishStreamResponse): void {
    const lines = this.#inFlight.get(response.batchId);
    if (lines === undefined) return;
    this.#inFlight.delete(response.batchId);
    if (response.error !== undefined) {
      const error = SluiceError.fromPublishError(response.error);
      // If a write failed, it is unknown how much of it reached the disk.
      this.#unstored.push({ ...lines, error, isRefused: error.reason !== 'STORAGE_FAILED' });
    } else {
      this.#storedCount += lines.last - lines.first + 1;
      this.#duplicateCount += Number(response.duplicateCount);
      this.#durability = response.durability;
      for (const range of response.ranges) {
        this.#ranges.add(range.partition, range.firstOffset, range.lastOffset);
      }
    }
    this.#wakeSender?.();
    this.#options.onReceipt();
  }
}

function interruptedError(): SluiceError {
  const seconds = limits.cliInterruptGraceMs / secondMs;
  return new SluiceError(`interrupted, and the broker did not answer for ${seconds} s`, {
    code: StatusCode.CANCELLED,
    reason: 'CANCELLED',
  });
}
