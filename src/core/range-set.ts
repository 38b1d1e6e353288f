import type { Interval } from '../base/positions.js';
import { lowerBound } from './search.js';

/**
 * A set of offsets, stored as ascending intervals that never touch: a million settled messages in a row take two
 * numbers. Changes and lookups are O(log n), plus the intervals that a change removes.
 */
export class RangeSet {
  readonly #firsts: number[] = [];
  readonly #lasts: number[] = [];
  #offsetCount = 0;

  get offsetCount(): number {
    return this.#offsetCount;
  }

  get intervalCount(): number {
    return this.#firsts.length;
  }

  add(first: number, last: number): void {
    const start = lowerBound(this.#lasts, first - 1);
    const stop = lowerBound(this.#firsts, last + 2);
    this.#offsetCount += last - first + 1;
    if (start === stop) {
      this.#firsts.splice(start, 0, first);
      this.#lasts.splice(start, 0, last);
      return;
    }
    const mergedFirst = Math.min(first, this.#firsts[start]!);
    const mergedLast = Math.max(last, this.#lasts[stop - 1]!);
    for (let i = start; i < stop; i += 1) {
      const overlap = Math.min(last, this.#lasts[i]!) - Math.max(first, this.#firsts[i]!) + 1;
      this.#offsetCount -= Math.max(0, overlap);
    }
    this.#firsts[start] = mergedFirst;
    this.#lasts[start] = mergedLast;
    this.#drop(start + 1, stop);
  }

  remove(first: number, last: number): void {
    let start = lowerBound(this.#lasts, first);
    let stop = lowerBound(this.#firsts, last + 1);
    if (start >= stop) return;
    for (let i = start; i < stop; i += 1) {
      this.#offsetCount -= Math.min(last, this.#lasts[i]!) - Math.max(first, this.#firsts[i]!) + 1;
    }
    const head = this.#firsts[start]!;
    const tail = this.#lasts[stop - 1]!;
    if (head < first && tail > last && stop - start === 1) {
      this.#lasts[start] = first - 1;
      this.#firsts.splice(stop, 0, last + 1);
      this.#lasts.splice(stop, 0, tail);
      return;
    }
    if (head < first) {
      this.#lasts[start] = first - 1;
      start += 1;
    }
    if (tail > last) {
      stop -= 1;
      this.#firsts[stop] = last + 1;
    }
    this.#drop(start, stop);
  }

  has(offset: number): boolean {
    const i = lowerBound(this.#lasts, offset);
    return i < this.#lasts.length && this.#firsts[i]! <= offset;
  }

  /** The first member at or after `offset`; Infinity if there is none. */
  nextFrom(offset: number): number {
    const i = lowerBound(this.#lasts, offset);
    return i < this.#lasts.length ? Math.max(offset, this.#firsts[i]!) : Number.POSITIVE_INFINITY;
  }

  /** The first offset at or after `offset` that is not a member. */
  nextAbsent(offset: number): number {
    const i = lowerBound(this.#lasts, offset);
    return i < this.#lasts.length && this.#firsts[i]! <= offset ? this.#lasts[i]! + 1 : offset;
  }

  clear(): void {
    this.#firsts.length = 0;
    this.#lasts.length = 0;
    this.#offsetCount = 0;
  }

  toIntervals(): Interval[] {
    return this.#firsts.map((first, i) => ({ first, last: this.#lasts[i]! }));
  }

  #drop(start: number, stop: number): void {
    if (start >= stop) return;
    this.#firsts.splice(start, stop - start);
    this.#lasts.splice(start, stop - start);
  }
}
