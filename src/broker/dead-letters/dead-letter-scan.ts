import { setImmediate } from 'node:timers/promises';
import { SluiceError } from '../../base/errors.js';
import { invariant } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import { originOf } from '../../envelope/dead-letter-origin.js';
import { messageEntry } from '../../envelope/message-bytes.js';
import type { LogReader, Storage, StoredRun } from '../../storage/types.js';
import type { Topic } from '../topics/topic.js';
import { type DeadLetterOwner, isOwn } from './dead-letter-owner.js';

/** Part of a partition of a dead-letter topic: `next` up to but not including `end`. */
export interface ScanRange {
  readonly partition: number;
  readonly next: number;
  readonly end: number;
}

export interface DeadLetter {
  readonly offset: number;
  /** The encoded `messages` field, as the dead-letter topic stores it. */
  readonly entry: Uint8Array;
  /** The partition that the message had in its original topic. */
  readonly originPartition: number;
}

/** The dead letters of one read, and the offset where the next read begins. */
export interface DeadLetterPage {
  readonly deadLetters: readonly DeadLetter[];
  readonly nextOffset: number;
}

/** Reads the dead letters of one subscription in one partition of a dead-letter topic, page by page. */
export class DeadLetterScan {
  readonly #storage: Storage;
  readonly #topicId: number;
  readonly #range: ScanRange;
  readonly #owner: DeadLetterOwner;
  readonly #reader: LogReader;
  #next: number;
  #isClosed = false;

  constructor(storage: Storage, deadLetterTopic: Topic, range: ScanRange, owner: DeadLetterOwner) {
    this.#storage = storage;
    this.#topicId = deadLetterTopic.topicId;
    this.#range = range;
    this.#owner = owner;
    this.#reader = storage.openReader(deadLetterTopic.topicId, range.partition);
    this.#next = range.next;
  }

  /** The next page, which may contain no dead letters of this owner; undefined at the end, and after `close`. */
  async next(): Promise<DeadLetterPage | undefined> {
    // The tail answers at once: without a pause, this scan would block the event loop.
    await setImmediate();
    if (this.#isClosed || this.#next >= this.#range.end) return undefined;
    const deadLetters: DeadLetter[] = [];
    const start = this.#next;
    const runs = await this.#read();
    if (this.#isClosed) return undefined;
    for (const run of runs) this.#collect(run, deadLetters);
    invariant(this.#next > start, 'a read below the end of the log came back empty');
    return { deadLetters, nextOffset: this.#next };
  }

  /** May be called twice. A call of `next` under way resolves with undefined. */
  close(): void {
    this.#isClosed = true;
    this.#reader.close();
  }

  async #read(): Promise<readonly StoredRun[]> {
    try {
      return await this.#reader.read(this.#next, limits.frameBytes);
    } catch (error) {
      if (SluiceError.from(error).reason !== 'OFFSET_OUT_OF_RANGE') throw error;
      // Retention removed these messages first: they can't be sent back.
      this.#next = this.#storage.extent(this.#topicId, this.#range.partition).firstOffset;
      return [];
    }
  }

  #collect(run: StoredRun, deadLetters: DeadLetter[]): void {
    const from = Math.max(this.#next, run.firstOffset);
    const to = Math.min(run.firstOffset + run.count, this.#range.end);
    if (from >= to) return;
    this.#next = to;
    for (let offset = from; offset < to; offset++) {
      const entry = messageEntry(run, offset - run.firstOffset);
      const origin = originOf(entry);
      if (origin === undefined || !isOwn(origin, this.#owner)) continue;
      // A copy, because the scan keeps it for longer than the run's memory is valid.
      deadLetters.push({ offset, entry: Buffer.from(entry), originPartition: origin.partition });
    }
  }
}
