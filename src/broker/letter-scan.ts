import { setImmediate } from 'node:timers/promises';
import { SluiceError } from '../base/errors.js';
import { invariant } from '../base/invariant.js';
import { limits } from '../base/limits.js';
import type { LogReader, Storage, StoredRun } from '../storage/types.js';
import { isOwn, type LetterOwner, originOf } from './letter-origin.js';
import { messageEntry } from './message-bytes.js';
import type { Topic } from './topic.js';

/** Part of a dead-letter topic: `next` up to but not including `end`. */
export interface LetterRange {
  readonly partition: number;
  readonly next: number;
  readonly end: number;
}

export interface Letter {
  readonly offset: number;
  /** The encoded `messages` field, as it stands in the dead-letter topic. */
  readonly entry: Uint8Array;
  /** Of the topic that it came from. */
  readonly originPartition: number;
}

/** The dead letters of what was read at once, with where reading goes on behind them. */
export interface LetterPiece {
  readonly letters: readonly Letter[];
  readonly nextOffset: number;
}

/** Reads the dead letters of one subscription in one partition of a dead-letter topic, piece by piece. */
export class LetterScan {
  readonly #storage: Storage;
  readonly #topicId: number;
  readonly #range: LetterRange;
  readonly #owner: LetterOwner;
  readonly #reader: LogReader;
  #next: number;

  constructor(storage: Storage, letterTopic: Topic, range: LetterRange, owner: LetterOwner) {
    this.#storage = storage;
    this.#topicId = letterTopic.topicId;
    this.#range = range;
    this.#owner = owner;
    this.#reader = storage.openReader(letterTopic.topicId, range.partition);
    this.#next = range.next;
  }

  /** The next piece, which may have no letters of this owner; undefined at the end. */
  async next(): Promise<LetterPiece | undefined> {
    // Memory answers at once: without a pause, going through it would hold up everybody else.
    await setImmediate();
    if (this.#next >= this.#range.end) return undefined;
    const letters: Letter[] = [];
    const start = this.#next;
    for (const run of await this.#read()) this.#collect(run, letters);
    invariant(this.#next > start, 'a read below the end of the log came back empty');
    return { letters, nextOffset: this.#next };
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

  #collect(run: StoredRun, letters: Letter[]): void {
    const from = Math.max(this.#next, run.firstOffset);
    const to = Math.min(run.firstOffset + run.count, this.#range.end);
    if (from >= to) return;
    this.#next = to;
    for (let offset = from; offset < to; offset++) {
      const entry = messageEntry(run, offset - run.firstOffset);
      const origin = originOf(entry);
      if (origin === undefined || !isOwn(origin, this.#owner)) continue;
      // A copy: it waits for its turn, and what the log answers is not good for long.
      letters.push({ offset, entry: Buffer.from(entry), originPartition: origin.partition });
    }
  }
}
