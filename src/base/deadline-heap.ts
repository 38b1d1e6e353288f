import { invariant } from './invariant.js';

interface Entry<T> {
  readonly item: T;
  atMs: number;
  index: number;
}

/**
 * Items by the time when they are due, soonest first. An item is in the heap at most once; setting it again moves
 * it. Each change takes O(log n), so one timer serves any number of deadlines.
 */
export class DeadlineHeap<T> {
  readonly #heap: Entry<T>[] = [];
  readonly #entries = new Map<T, Entry<T>>();

  get size(): number {
    return this.#heap.length;
  }

  /** When the first item is due; Infinity if the heap is empty. */
  get nextAtMs(): number {
    return this.#heap[0]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  /** Adds the item, or moves it to this time. Infinity removes it. */
  set(item: T, atMs: number): void {
    if (atMs === Number.POSITIVE_INFINITY) {
      this.delete(item);
      return;
    }
    const entry = this.#entries.get(item);
    if (entry === undefined) {
      const added = { item, atMs, index: this.#heap.length };
      this.#entries.set(item, added);
      this.#heap.push(added);
      this.#up(added);
      return;
    }
    const isSooner = atMs < entry.atMs;
    entry.atMs = atMs;
    if (isSooner) this.#up(entry);
    else this.#down(entry);
  }

  delete(item: T): void {
    const entry = this.#entries.get(item);
    if (entry === undefined) return;
    this.#entries.delete(item);
    const last = this.#heap.pop();
    invariant(last !== undefined, 'an entry without a heap');
    if (last === entry) return;
    last.index = entry.index;
    this.#heap[last.index] = last;
    this.#up(last);
    this.#down(last);
  }

  clear(): void {
    this.#heap.length = 0;
    this.#entries.clear();
  }

  /** Removes and returns the first item if it is due. */
  popDue(nowMs: number): T | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.atMs > nowMs) return undefined;
    this.delete(first.item);
    return first.item;
  }

  #up(entry: Entry<T>): void {
    while (entry.index > 0) {
      const parent = this.#heap[(entry.index - 1) >> 1]!;
      if (parent.atMs <= entry.atMs) break;
      this.#swap(parent, entry);
    }
  }

  #down(entry: Entry<T>): void {
    for (;;) {
      const left = this.#heap[2 * entry.index + 1];
      const right = this.#heap[2 * entry.index + 2];
      const child = right !== undefined && left !== undefined && right.atMs < left.atMs ? right : left;
      if (child === undefined || child.atMs >= entry.atMs) break;
      this.#swap(entry, child);
    }
  }

  /** `upper` is above `lower`. Afterwards they have changed places. */
  #swap(upper: Entry<T>, lower: Entry<T>): void {
    const index = upper.index;
    upper.index = lower.index;
    lower.index = index;
    this.#heap[upper.index] = upper;
    this.#heap[lower.index] = lower;
  }
}
