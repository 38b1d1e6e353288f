import { invariant } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import { type Engine, storeClosed } from '../engine/engine.js';
import type { LogReader, StoredRun } from '../types.js';
import { DiskSession } from './disk-session.js';
import { checkReadable } from './log-errors.js';
import type { PartitionLog } from './partition-log.js';
import type { ReadSlots } from './read-slots.js';

export interface ReaderServices {
  readonly engine: Engine;
  readonly slots: ReadSlots;
  /** How many bytes one read takes from the disk. */
  readonly readAheadBytes: () => number;
  /** A reader holds so many bytes more, or less, than before. */
  readonly heldBytesChanged: (bytes: number) => void;
  readonly isClosed: () => boolean;
  /** A reader is about to hold data of the disk, or uses the data that it holds. */
  readonly holds: (reader: Reader) => void;
  readonly releases: (reader: Reader) => void;
}

/** Reads from the tail if possible, otherwise from the disk. */
export class Reader implements LogReader {
  readonly #services: ReaderServices;
  readonly #log: PartitionLog;
  #session: DiskSession | undefined;
  #isReading = false;
  /** About how long it has not been used. */
  #idleMs = 0;

  constructor(services: ReaderServices, log: PartitionLog) {
    this.#services = services;
    this.#log = log;
  }

  read(offset: number, maxBytes: number): readonly StoredRun[] | Promise<readonly StoredRun[]> {
    invariant(!this.#isReading, 'a log reader does one read at a time');
    const log = this.#log;
    checkReadable(log, offset);
    if (offset >= log.endOffset) return [];
    if (log.tail.holds(offset)) {
      this.close();
      return log.tail.read(offset, maxBytes);
    }
    const found = this.#sessionAt(offset).read(offset, maxBytes);
    return found instanceof Promise ? this.#await(found) : found;
  }

  close(): void {
    if (this.#session === undefined) return;
    this.#session.close();
    this.#session = undefined;
    this.#services.releases(this);
  }

  /**
   * Called every `limits.scanOpenMs`: closes the scan. Gives up everything else if the reader was idle for long.
   */
  sweep(): void {
    this.#session?.closeScan();
    if (this.#isReading) return;
    this.#idleMs += limits.scanOpenMs;
    if (this.#idleMs >= limits.readerIdleMs) this.close();
  }

  /** Between two reads: its data may be given up. */
  get isResting(): boolean {
    return !this.#isReading;
  }

  #sessionAt(offset: number): DiskSession {
    this.#idleMs = 0;
    if (this.#session?.covers(offset) === true) {
      this.#services.holds(this);
      return this.#session;
    }
    this.close();
    if (this.#services.isClosed()) throw storeClosed();
    this.#services.holds(this);
    this.#session = new DiskSession(this.#services, this.#log, offset);
    return this.#session;
  }

  async #await(found: Promise<readonly StoredRun[]>): Promise<readonly StoredRun[]> {
    this.#isReading = true;
    try {
      const runs = await found;
      // An owner that did not close the reader itself must not take an empty list for the end of the log.
      if (runs.length === 0 && this.#services.isClosed()) throw storeClosed();
      return runs;
    } finally {
      this.#isReading = false;
    }
  }
}
