import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { ConsumeRequestSchema, ConsumeResponse_Settled } from '@sluice/client/api';
import { limits } from '../../base/limits.js';
import { type Range, RangeSet } from '../positions.js';

type ConsumeRequestInit = MessageInitShape<typeof ConsumeRequestSchema>;

type Settlements = NonNullable<ConsumeRequestInit['settlements']>;
type Outcome = NonNullable<Settlements[number]['outcome']>;

/** As many settlements as a request may have, again and again. */
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
 * Acknowledges what has been printed. One request is being written at a time; what is printed meanwhile gathers
 * into ranges, so the reading side never waits for the writing side and little is kept.
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

  /** `onWritten` is called when everything that waited has been written. */
  constructor(write: (request: ConsumeRequestInit) => Promise<void>, onWritten: () => void) {
    this.#write = write;
    this.#onWritten = onWritten;
  }

  acknowledge(partition: number, first: bigint, last: bigint): void {
    this.#printed.add(partition, first, last);
    this.#flush();
  }

  /** Moves the end of the leases of these messages. What is not leased any more is passed over. */
  extend(ranges: readonly Range[], byMs: number): void {
    this.#extension = { ranges, byMs };
    this.#flush();
  }

  /** Absolute. Goes out before any acknowledgement that is still here, so what comes back is never too much. */
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
