import { endOnDefect } from '../../base/invariant.js';
import type { Run } from '../codec/run.js';
import type { Engine } from '../engine/engine.js';
import { LogScan } from './log-scan.js';
import type { PartitionLog } from './partition-log.js';
import type { ReadSlots } from './read-slots.js';

export interface DiskSessionServices {
  readonly engine: Engine;
  readonly slots: ReadSlots;
  /** How many bytes one read takes from the disk. */
  readonly readAheadBytes: () => number;
  /** The session holds so many bytes more, or less, than before. */
  readonly heldBytesChanged: (bytes: number) => void;
}

/**
 * Reads behind the tail: holds a scan that is open for moments, the runs read last, and one read ahead. The runs
 * stay until the reader has passed them, because a consumer with little credit comes back to the middle of a run.
 */
export class DiskSession {
  readonly #services: DiskSessionServices;
  readonly #log: PartitionLog;
  #scan: LogScan | undefined;
  #window: Run[] = [];
  #windowBytes = 0;
  /** The end of the window, where the scan continues. */
  #nextOffset: number;
  #fetching: Promise<void> | undefined;
  #failure: unknown;
  #isClosed = false;

  constructor(services: DiskSessionServices, log: PartitionLog, offset: number) {
    this.#services = services;
    this.#log = log;
    this.#nextOffset = offset;
  }

  /** False for an offset that needs a new session. */
  covers(offset: number): boolean {
    const first = this.#window[0]?.firstOffset ?? this.#nextOffset;
    return !this.#isClosed && first <= offset && offset <= this.#nextOffset;
  }

  /** For a committed offset that the session covers. */
  read(offset: number, maxBytes: number): Run[] | Promise<Run[]> {
    this.#dropBelow(offset);
    return this.#window.length > 0 ? this.#take(maxBytes) : this.#fetchAndTake(maxBytes);
  }

  /** A read under way is answered with an empty list. */
  close(): void {
    this.#isClosed = true;
    this.#setWindow([]);
    this.closeScan();
  }

  #dropBelow(offset: number): void {
    const keptFrom = this.#window.findIndex((run) => run.endOffset > offset);
    if (keptFrom !== 0) this.#setWindow(keptFrom < 0 ? [] : this.#window.slice(keptFrom));
  }

  #setWindow(window: Run[]): void {
    const before = this.#windowBytes;
    this.#window = window;
    this.#windowBytes = window.reduce((bytes, { messages }) => bytes + messages.length, 0);
    if (this.#windowBytes !== before) this.#services.heldBytesChanged(this.#windowBytes - before);
  }

  async #fetchAndTake(maxBytes: number): Promise<Run[]> {
    // At most twice: a scan at the end of its snapshot is replaced by a new one.
    while (this.#window.length === 0) {
      this.#fetching ??= this.#fetch();
      await this.#fetching;
      if (this.#isClosed) return [];
      if (this.#failure !== undefined) {
        this.close();
        throw this.#failure;
      }
    }
    return this.#take(maxBytes);
  }

  #take(maxBytes: number): Run[] {
    let bytes = 0;
    const end = this.#window.findIndex((run) => {
      bytes += run.messages.length;
      return bytes >= maxBytes;
    });
    const taken = end < 0 ? this.#window.slice() : this.#window.slice(0, end + 1);
    if (taken.length === this.#window.length && this.#mayReadAhead()) this.#fetching ??= this.#fetch();
    return taken;
  }

  /** After an error nothing is read ahead: the reader gets the error when it reaches that offset. */
  #mayReadAhead(): boolean {
    if (this.#failure !== undefined) return false;
    return this.#nextOffset < this.#log.endOffset && !this.#log.tail.holds(this.#nextOffset);
  }

  /** Extends the window. Never rejects: an error is kept for the read that reaches it. */
  async #fetch(): Promise<void> {
    try {
      const { engine, slots, readAheadBytes } = this.#services;
      await slots.run(async () => {
        if (this.#isClosed) return;
        this.#scan ??= new LogScan(engine, this.#log, this.#nextOffset, readAheadBytes());
        const runs = await this.#scan.next();
        if (this.#isClosed) return;
        if (runs.length === 0) this.closeScan();
        this.#setWindow([...this.#window, ...runs]);
        this.#nextOffset = this.#window.at(-1)?.endOffset ?? this.#nextOffset;
      });
    } catch (error) {
      endOnDefect(error);
      this.#failure = error;
    } finally {
      this.#fetching = undefined;
    }
  }

  /**
   * Closes the scan, but keeps the runs and the read under way. The scan is opened again where reading continues.
   * Closing can't fail, and waits for a read under way, which is answered as usual.
   */
  closeScan(): void {
    void this.#scan?.close();
    this.#scan = undefined;
  }
}
