import type { Clock, Timer } from '../base/clock.js';
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
  readonly #holding = new Set<Reader>();
  #sweep: Timer | undefined;
  #isClosed = false;

  constructor(clock: Clock, engine: Engine, slots: ReadSlots) {
    this.#clock = clock;
    this.#engine = engine;
    this.#slots = slots;
  }

  open(log: PartitionLog): Reader {
    return new Reader(
      {
        engine: this.#engine,
        slots: this.#slots,
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

  #sweepLater(): void {
    this.#sweep ??= this.#clock.after(limits.readerIdleMs, () => {
      this.#sweep = undefined;
      for (const reader of this.#holding) reader.closeIfIdle();
      if (this.#holding.size > 0) this.#sweepLater();
    });
  }
}
