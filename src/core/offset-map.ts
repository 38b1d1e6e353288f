import { lowerBound } from './search.js';

/** Removed entries at the front stay in the array until there are this many, and as many as other entries. */
const compactAt = 64;

/**
 * Values by offset, in order of offset, for the few messages that need one. Most are added at the end and removed
 * at the front: neither moves the others.
 */
export class OffsetMap<T> {
  #offsets: number[] = [];
  #values: (T | undefined)[] = [];
  /** The index of the first entry. */
  #head = 0;

  get size(): number {
    return this.#offsets.length - this.#head;
  }

  get(offset: number): T | undefined {
    const i = this.#indexFrom(offset);
    return this.#offsets[i] === offset ? this.#values[i] : undefined;
  }

  set(offset: number, value: T): void {
    const i = this.#indexFrom(offset);
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

  /** Returns how many there were. */
  deleteRange(first: number, last: number): number {
    const start = this.#indexFrom(first);
    const stop = this.#indexFrom(last + 1);
    if (start >= stop) return 0;
    if (start === this.#head) {
      this.#values.fill(undefined, start, stop);
      this.#head = stop;
      if (this.#head >= compactAt && this.#head >= this.size) this.#compact();
    } else {
      this.#offsets.splice(start, stop - start);
      this.#values.splice(start, stop - start);
    }
    return stop - start;
  }

  /** The first offset at or after this one that has a value; Infinity if there is none. */
  nextFrom(offset: number): number {
    return this.#offsets[this.#indexFrom(offset)] ?? Number.POSITIVE_INFINITY;
  }

  map<R>(transform: (offset: number, value: T) => R): R[] {
    const mapped: R[] = [];
    for (let i = this.#head; i < this.#offsets.length; i += 1) {
      mapped.push(transform(this.#offsets[i]!, this.#values[i]!));
    }
    return mapped;
  }

  clear(): void {
    this.#offsets = [];
    this.#values = [];
    this.#head = 0;
  }

  #indexFrom(offset: number): number {
    return lowerBound(this.#offsets, offset, this.#head);
  }

  #compact(): void {
    this.#offsets = this.#offsets.slice(this.#head);
    this.#values = this.#values.slice(this.#head);
    this.#head = 0;
  }
}
