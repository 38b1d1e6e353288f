import { setImmediate } from 'node:timers/promises';
import { SluiceError } from '../base/errors.js';
import { invariant } from '../base/invariant.js';
import { limits } from '../base/limits.js';
import type { LogReader, Storage, StoredRun } from '../storage/types.js';
import { type DeadLetterOwner, isOwn, originOf } from './dead-letter-origin.js';
import { messageEntry } from './message-bytes.js';
import type { Topic } from './topic.js';

/** Part of a dead-letter topic: `next` up to but not including `end`. */
export interface ScanRange {
  readonly partition: number;
  readonly next: number;
  readonly end: number;
}

export interface DeadLetter {
  readonly offset: number;
  /** The encoded `messages` field, as it stands in the dead-letter topic. */
  readonly entry: Uint8Array;
  /** Of the topic that it came from. */
  readonly originPartition: number;
}

/** The dead letters of what was read at once, with where reading goes on behind them. */
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

  constructor(storage: Storage, deadLetterTopic: Topic, range: ScanRange, owner: DeadLetterOwner) {
    this.#storage = storage;
    this.#topicId = deadLetterTopic.topicId;
    this.#range = range;
    this.#owner = owner;
    this.#reader = storage.openReader(deadLetterTopic.topicId, range.partition);
    this.#next = range.next;
  }

  /** The next page, which may have no dead letters of this owner; undefined at the end. */
  async next(): Promise<DeadLetterPage | undefined> {
    // Memory answers at once: without a pause, going through it would hold up everybody else.
    await setImmediate();
    if (this.#next >= this.#range.end) return undefined;
    const deadLetters: DeadLetter[] = [];
    const start = this.#next;
    for (const run of await this.#read()) this.#collect(run, deadLetters);
    invariant(this.#next > start, 'a read below the end of the log came back empty');
    return { deadLetters, nextOffset: this.#next };
  }

  close(): void {
    this.#reader.close();
  }

  async #read(): Promise<readonly StoredRun[]> {
    try {
      return await this.#reader.read(this.#next, limits.frameBytes);
    } catch (error) {
      if (SluiceError.from(error).reason !== 'OFFSET_OUT_OF_RANGE') throw error;
      // Retention was quicker: what it removed is not there to be sent back.
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
      // A copy: it waits for its turn, and what the log answers is not good for long.
      deadLetters.push({ offset, entry: Buffer.from(entry), originPartition: origin.partition });
    }
  }
}
