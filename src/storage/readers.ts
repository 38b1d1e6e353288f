import type { Clock, Timer } from '../base/clock.js';
import { fairShare } from '../base/fair-share.js';
import { limits } from '../base/limits.js';
import type { Engine } from './engine.js';
import type { PartitionLog } from './partition-log.js';
import type { ReadSlots } from './read-slots.js';
import { Reader } from './reader.js';

/** All readers that hold something of the disk, so that none of them holds it for long without using it. */
export class Readers {
  readonly #clock: Clock;
  readonly #engine: Engine;
  readonly #slots: ReadSlots;
  readonly #maxBytes: number;
  readonly #holding = new Set<Reader>();
  #sweep: Timer | undefined;
  #isClosed = false;

  /** `maxBytes`: what all of them may hold of the disk. */
  constructor(clock: Clock, engine: Engine, slots: ReadSlots, maxBytes: number) {
    this.#clock = clock;
    this.#engine = engine;
    this.#slots = slots;
    this.#maxBytes = maxBytes;
  }

  open(log: PartitionLog): Reader {
    return new Reader(
      {
        engine: this.#engine,
        slots: this.#slots,
        readAheadBytes: () => this.#readAheadBytes(),
        isClosed: () => this.#isClosed,
        holds: (reader) => {
          this.#holding.add(reader);
          this.#sweepLater();
        },
        releases: (reader) => this.#holding.delete(reader),
      },
      log,
    );
  }

  /** Readers that hold an open scan or runs of the disk. */
  get holdingCount(): number {
    return this.#holding.size;
  }

  /** The database is about to be closed: nothing reads it any more. */
  close(): void {
    this.#isClosed = true;
    this.#sweep?.cancel();
    for (const reader of this.#holding) reader.close();
  }

  /** What one of them reads at once, and holds twice: the more of them there are, the less. */
  #readAheadBytes(): number {
    const bounds = {
      totalBytes: this.#maxBytes / 2,
      smallestBytes: limits.smallestReadAheadBytes,
      largestBytes: limits.readAheadBytes,
    };
    return fairShare(bounds, this.#holding.size);
  }

  #sweepLater(): void {
    this.#sweep ??= this.#clock.after(limits.readerIdleMs, () => {
      this.#sweep = undefined;
      for (const reader of this.#holding) reader.closeIfIdle();
      if (this.#holding.size > 0) this.#sweepLater();
    });
  }
}
