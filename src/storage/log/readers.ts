import type { Clock, Timer } from '../../base/clock.js';
import { fairShare } from '../../base/fair-share.js';
import { limits } from '../../base/limits.js';
import type { Engine } from '../engine/engine.js';
import type { PartitionLog } from './partition-log.js';
import type { ReadSlots } from './read-slots.js';
import { Reader } from './reader.js';

/** All readers that hold data of the disk, so that none of them holds data for long without using it. */
export class Readers {
  readonly #clock: Clock;
  readonly #engine: Engine;
  readonly #slots: ReadSlots;
  readonly #maxBytes: number;
  /** The least recently used reader comes first. */
  readonly #holding = new Set<Reader>();
  #heldBytes = 0;
  #sweep: Timer | undefined;
  #isClosed = false;

  /** `maxBytes`: how much data of the disk all of them may hold. */
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
        heldBytesChanged: (bytes) => {
          this.#heldBytes += bytes;
          if (bytes > 0) this.#makeRoom();
        },
        holds: (reader) => {
          // The most recently used reader comes last.
          this.#holding.delete(reader);
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

  /** Bytes of the disk that the readers hold. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** A reader without a read under way can read again what it gives up. */
  #makeRoom(): void {
    for (const reader of this.#holding) {
      if (this.#heldBytes <= this.#maxBytes) return;
      if (reader.isResting) reader.close();
    }
  }

  /** How much one reader reads at once, and holds twice. It decreases with the number of readers. */
  #readAheadBytes(): number {
    const bounds = {
      totalBytes: this.#maxBytes / 2,
      smallestBytes: limits.smallestReadAheadBytes,
      largestBytes: limits.readAheadBytes,
    };
    return fairShare(bounds, this.#holding.size);
  }

  #sweepLater(): void {
    this.#sweep ??= this.#clock.after(limits.scanOpenMs, () => {
      this.#sweep = undefined;
      for (const reader of this.#holding) reader.sweep();
      if (this.#holding.size > 0) this.#sweepLater();
    });
  }
}
