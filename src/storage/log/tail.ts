import { Fifo } from '../../base/fifo.js';
import type { SpareMemory } from '../../base/spare-memory.js';
import type { Run } from '../codec/run.js';

/** The newest committed runs of one partition, without gaps, oldest first. */
export class TailSegment {
  #runs: Run[] = [];
  /** Runs before this one have been dropped. */
  #head = 0;

  push(runs: readonly Run[]): void {
    for (const run of runs) this.#runs.push(run);
  }

  /** Drops the oldest runs. */
  drop(count: number): void {
    this.#head = Math.min(this.#head + count, this.#runs.length);
    // Moving the rest costs as much as was dropped since the last time: constant for each run.
    if (this.#head * 2 < this.#runs.length) return;
    this.#runs = this.#runs.slice(this.#head);
    this.#head = 0;
  }

  clear(): void {
    this.#runs = [];
    this.#head = 0;
  }

  holds(offset: number): boolean {
    const first = this.#runs[this.#head];
    return first !== undefined && first.firstOffset <= offset && offset < this.#runs.at(-1)!.endOffset;
  }

  /** Runs from the one that contains `offset`, until `maxBytes` are reached. Only for an offset in the segment. */
  read(offset: number, maxBytes: number): Run[] {
    let low = this.#head;
    let high = this.#runs.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#runs[middle]!.endOffset <= offset) low = middle + 1;
      else high = middle;
    }
    const found: Run[] = [];
    for (let bytes = 0, index = low; index < this.#runs.length && bytes < maxBytes; index++) {
      const run = this.#runs[index]!;
      found.push(run);
      bytes += run.messages.length;
    }
    return found;
  }
}

interface TailRound {
  readonly block: ArrayBuffer;
  readonly byteLength: number;
  readonly parts: readonly { readonly segment: TailSegment; readonly runs: readonly Run[] }[];
}

/** About what a run costs beside its messages: two objects and its place in an array. A round costs the same. */
const overheadBytes = 256;

/**
 * Committed rounds in memory, for consumers that keep up. A round is one block of memory that all its runs share,
 * so whole rounds are dropped, oldest first.
 */
export class Tail {
  readonly #maxBytes: number;
  readonly #memory: SpareMemory;
  readonly #rounds = new Fifo<TailRound>();
  #byteLength = 0;

  constructor(maxBytes: number, memory: SpareMemory) {
    this.#maxBytes = maxBytes;
    this.#memory = memory;
  }

  get byteLength(): number {
    return this.#byteLength;
  }

  add(block: ArrayBuffer, parts: TailRound['parts']): void {
    const runCount = parts.reduce((count, part) => count + part.runs.length, 0);
    const byteLength = block.byteLength + (runCount + 1) * overheadBytes;
    for (const { segment, runs } of parts) segment.push(runs);
    this.#rounds.push({ block, byteLength, parts });
    this.#byteLength += byteLength;
    while (this.#byteLength > this.#maxBytes) this.#dropOldest();
  }

  #dropOldest(): void {
    const round = this.#rounds.shift()!;
    this.#byteLength -= round.byteLength;
    for (const { segment, runs } of round.parts) segment.drop(runs.length);
    this.#memory.giveBack(round.block);
  }
}
