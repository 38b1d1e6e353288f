import type { Range } from './response.js';

/** Acknowledged offsets that wait to be sent, as ranges. Offsets in order extend the last range. */
export class AckRanges {
  /** For each partition, the first and the last offset of each range, in the order of acknowledgement. */
  readonly #byPartition = new Map<number, number[]>();
  #count = 0;

  /** The number of messages. */
  get count(): number {
    return this.#count;
  }

  add(partition: number, offset: number): void {
    this.#count++;
    const bounds = this.#byPartition.get(partition);
    if (bounds === undefined) this.#byPartition.set(partition, [offset, offset]);
    else if (bounds[bounds.length - 1] === offset - 1) bounds[bounds.length - 1] = offset;
    else bounds.push(offset, offset);
  }

  /** Removes the offsets of a range. */
  remove({ partition, first, last }: Range): void {
    const bounds = this.#byPartition.get(partition);
    if (bounds === undefined) return;
    const kept: number[] = [];
    for (let i = 0; i < bounds.length; i += 2) {
      const [from, to] = [bounds[i]!, bounds[i + 1]!];
      const [cutFrom, cutTo] = [Math.max(from, first), Math.min(to, last)];
      if (cutFrom > cutTo) {
        kept.push(from, to);
        continue;
      }
      this.#count -= cutTo - cutFrom + 1;
      if (from < cutFrom) kept.push(from, cutFrom - 1);
      if (cutTo < to) kept.push(cutTo + 1, to);
    }
    if (kept.length > 0) this.#byPartition.set(partition, kept);
    else this.#byPartition.delete(partition);
  }

  /** Removes and returns all offsets, in the smallest number of ranges. */
  take(): Range[] {
    const ranges: Range[] = [];
    for (const [partition, bounds] of this.#byPartition) {
      for (const [first, last] of merged(bounds)) ranges.push({ partition, first, last });
    }
    this.#byPartition.clear();
    this.#count = 0;
    return ranges;
  }
}

function merged(bounds: readonly number[]): [number, number][] {
  const sorted: [number, number][] = [];
  for (let i = 0; i < bounds.length; i += 2) sorted.push([bounds[i]!, bounds[i + 1]!]);
  sorted.sort(([a], [b]) => a - b);
  const ranges: [number, number][] = [];
  for (const [first, last] of sorted) {
    const before = ranges.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else ranges.push([first, last]);
  }
  return ranges;
}
