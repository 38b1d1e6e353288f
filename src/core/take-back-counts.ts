import { RangeSet } from './range-set.js';

/** A count is not larger than this: a wait that has doubled so often lasts longer than any broker runs. */
const maxCount = 30;

/**
 * How often each message of a partition was taken back from a transport since a consumer last got it. A message that was
 * delivered together with others may have the largest count of them. Only messages that were taken back need memory.
 */
export class TakeBackCounts {
  /** At index i: the messages that were taken back more than i times. */
  readonly #atLeast: RangeSet[] = [];

  set(first: number, last: number, count: number): void {
    for (let i = 0; i < Math.min(count, maxCount); i += 1) {
      this.#atLeast[i] ??= new RangeSet();
      this.#atLeast[i]!.add(first, last);
    }
  }

  /** The largest count of the messages from `first` to `last`. */
  largest(first: number, last: number): number {
    let count = this.#atLeast.length;
    while (count > 0 && this.#atLeast[count - 1]!.nextFrom(first) > last) count -= 1;
    return count;
  }

  remove(first: number, last: number): void {
    for (const offsets of this.#atLeast) offsets.remove(first, last);
    while (this.#atLeast.at(-1)?.intervalCount === 0) this.#atLeast.pop();
  }

  clear(): void {
    this.#atLeast.length = 0;
  }
}
