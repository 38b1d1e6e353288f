import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { ConsumeRequestSchema, ConsumeResponse_Settled } from '@sluice/client/api';
import { limits } from '../../base/limits.js';
import { type Range, RangeSet } from '../positions.js';

type ConsumeRequestInit = MessageInitShape<typeof ConsumeRequestSchema>;

type Settlements = NonNullable<ConsumeRequestInit['settlements']>;
type Outcome = NonNullable<Settlements[number]['outcome']>;

/** Yields lists of at most as many settlements as a request may have. */
function* settlementsOf(ranges: readonly Range[], outcome: Outcome): Generator<Settlements> {
  for (let from = 0; from < ranges.length; from += limits.maxSettlementsPerRequest) {
    const some = ranges.slice(from, from + limits.maxSettlementsPerRequest);
    yield some.map(({ partition, first, last }) => ({
      offsets: { partition, firstOffset: first, lastOffset: last },
      outcome,
    }));
  }
}

/**
 * Acknowledges printed messages. One request is written at a time. Messages that are printed meanwhile are merged
 * into ranges, so the reading side never waits for the writing side, and memory stays small.
 */
export class Settler {
  readonly #write: (request: ConsumeRequestInit) => Promise<void>;
  readonly #onWritten: () => void;
  readonly #printed = new RangeSet();
  #extension: { readonly ranges: readonly Range[]; readonly byMs: number } | undefined;
  #credit: number | undefined;
  #lastId = 0n;
  #settledId = 0n;
  #isWriting = false;
  #staleCount = 0n;

  /** Calls `onWritten` when everything that waited has been written. */
  constructor(write: (request: ConsumeRequestInit) => Promise<void>, onWritten: () => void) {
    this.#write = write;
    this.#onWritten = onWritten;
  }

  acknowledge(partition: number, first: bigint, last: bigint): void {
    this.#printed.add(partition, first, last);
    this.#flush();
  }

  /** Extends the leases of these messages. Messages that are no longer leased are skipped. */
  extend(ranges: readonly Range[], byMs: number): void {
    this.#extension = { ranges, byMs };
    this.#flush();
  }

  /** Absolute. It is sent before the acknowledgements that wait here, so the broker never delivers too much. */
  setCredit(messages: number): void {
    this.#credit = messages;
    this.#flush();
  }

  /** The broker has made a request's settlements durable. */
  settled({ settlementId, result }: ConsumeResponse_Settled): void {
    if (settlementId === 0n) return;
    if (settlementId > this.#settledId) this.#settledId = settlementId;
    for (const { firstOffset, lastOffset } of result?.stale ?? []) {
      this.#staleCount += lastOffset - firstOffset + 1n;
    }
  }

  /** Nothing waits to be sent or answered. */
  get isIdle(): boolean {
    return this.#printed.isEmpty && !this.#isWriting && this.#settledId === this.#lastId;
  }

  /** Messages that the broker had taken back before they were acknowledged: it delivers them again. */
  get staleCount(): bigint {
    return this.#staleCount;
  }

  #flush(): void {
    if (this.#isWriting) return;
    this.#isWriting = true;
    // A failed write means that the call has ended: its reader gets the reason.
    this.#writeAll().catch(() => {});
  }

  async #writeAll(): Promise<void> {
    while (this.#credit !== undefined || !this.#printed.isEmpty || this.#extension !== undefined) {
      if (this.#credit !== undefined) {
        const maxOutstandingMessages = this.#credit;
        this.#credit = undefined;
        await this.#write({ flowControl: { maxOutstandingMessages } });
      }
      if (this.#extension !== undefined) {
        const { ranges, byMs } = this.#extension;
        this.#extension = undefined;
        const outcome = { case: 'extend' as const, value: { by: durationFromMs(byMs) } };
        for (const settlements of settlementsOf(ranges, outcome)) await this.#write({ settlements });
      }
      for (const settlements of settlementsOf(this.#printed.take(), { case: 'ack', value: {} })) {
        this.#lastId++;
        await this.#write({ settlementId: this.#lastId, settlements });
      }
    }
    this.#isWriting = false;
    this.#onWritten();
  }
}
