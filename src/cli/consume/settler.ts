import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ConsumeRequestSchema, ConsumeResponse_Settled } from '@sluice/client/api';
import { limits } from '../../base/limits.js';
import { RangeSet } from '../positions.js';

type ConsumeRequestInit = MessageInitShape<typeof ConsumeRequestSchema>;

/**
 * Acknowledges what has been printed. One request is being written at a time; what is printed meanwhile gathers
 * into ranges, so the reading side never waits for the writing side and little is kept.
 */
export class Settler {
  readonly #write: (request: ConsumeRequestInit) => Promise<void>;
  readonly #onWritten: () => void;
  readonly #printed = new RangeSet();
  #credit: number | undefined;
  #lastId = 0n;
  #settledId = 0n;
  #isWriting = false;
  #staleCount = 0n;

  /** `onWritten` is called when everything that waited has been written. */
  constructor(write: (request: ConsumeRequestInit) => Promise<void>, onWritten: () => void) {
    this.#write = write;
    this.#onWritten = onWritten;
  }

  acknowledge(partition: number, first: bigint, last: bigint): void {
    this.#printed.add(partition, first, last);
    this.#flush();
  }

  /** Absolute. Goes out before any acknowledgement that is still here, so what comes back is never too much. */
  setCredit(messages: number): void {
    this.#credit = messages;
    this.#flush();
  }

  /** The broker has made a request's settlements durable. */
  settled({ settlementId, result }: ConsumeResponse_Settled): void {
    if (settlementId > this.#settledId) this.#settledId = settlementId;
    for (const { firstOffset, lastOffset } of result?.stale ?? []) {
      this.#staleCount += lastOffset - firstOffset + 1n;
    }
  }

  /** Nothing waits to be sent or answered. */
  get isIdle(): boolean {
    return this.#printed.isEmpty && !this.#isWriting && this.#settledId === this.#lastId;
  }

  /** Messages that the broker had taken back before they were acknowledged: they are delivered again. */
  get staleCount(): bigint {
    return this.#staleCount;
  }

  #flush(): void {
    if (this.#isWriting) return;
    this.#isWriting = true;
    // A write that fails means that the call is over: whoever reads it is told why.
    this.#writeAll().catch(() => {});
  }

  async #writeAll(): Promise<void> {
    while (this.#credit !== undefined || !this.#printed.isEmpty) {
      if (this.#credit !== undefined) {
        const maxOutstandingMessages = this.#credit;
        this.#credit = undefined;
        await this.#write({ flowControl: { maxOutstandingMessages } });
      }
      const ranges = this.#printed.take();
      for (let from = 0; from < ranges.length; from += limits.maxSettlementsPerRequest) {
        this.#lastId++;
        await this.#write({
          settlementId: this.#lastId,
          settlements: ranges.slice(from, from + limits.maxSettlementsPerRequest).map((range) => ({
            offsets: { partition: range.partition, firstOffset: range.first, lastOffset: range.last },
            outcome: { case: 'ack' as const, value: {} },
          })),
        });
      }
    }
    this.#isWriting = false;
    this.#onWritten();
  }
}
