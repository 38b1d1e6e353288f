import { lowerBound } from './search.js';

/** Values by offset, in order of offset: for the few messages that need a note of their own. */
export class OffsetMap<T> {
  readonly #offsets: number[] = [];
  readonly #values: T[] = [];

  get size(): number {
    return this.#offsets.length;
  }

  get(offset: number): T | undefined {
    const i = lowerBound(this.#offsets, offset);
    return this.#offsets[i] === offset ? this.#values[i] : undefined;
  }

  set(offset: number, value: T): void {
    const i = lowerBound(this.#offsets, offset);
    if (this.#offsets[i] === offset) {
      this.#values[i] = value;
      return;
    }
    this.#offsets.splice(i, 0, offset);
    this.#values.splice(i, 0, value);
  }

  delete(offset: number): boolean {
    return this.deleteRange(offset, offset) === 1;
  }

  /** Says how many there were. */
  deleteRange(first: number, last: number): number {
    const start = lowerBound(this.#offsets, first);
    const stop = lowerBound(this.#offsets, last + 1);
    if (start < stop) {
      this.#offsets.splice(start, stop - start);
      this.#values.splice(start, stop - start);
    }
    return stop - start;
  }

  /** The first offset at or after this one that has a value; Infinity when there is none. */
  nextFrom(offset: number): number {
    return this.#offsets[lowerBound(this.#offsets, offset)] ?? Number.POSITIVE_INFINITY;
  }

  map<R>(transform: (offset: number, value: T) => R): R[] {
    return this.#offsets.map((offset, i) => transform(offset, this.#values[i]!));
  }

  clear(): void {
    this.#offsets.length = 0;
    this.#values.length = 0;
  }
}
