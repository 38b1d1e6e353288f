/** Offsets of one partition that can't be read. Both ends included. */
export interface DamagedRange {
  readonly firstOffset: number;
  readonly lastOffset: number;
  /** What is wrong, for people. */
  readonly why: string;
}

/** The damage of one partition that was found since the store was opened, by offset. Nearly always empty. */
export class DamagedOffsets {
  #ranges: DamagedRange[] = [];

  /** The first damaged range that ends at or behind `offset`. */
  from(offset: number): DamagedRange | undefined {
    return this.#ranges.find(({ lastOffset }) => lastOffset >= offset);
  }

  /** The damaged range that holds `offset`. */
  at(offset: number): DamagedRange | undefined {
    const range = this.from(offset);
    return range !== undefined && range.firstOffset <= offset ? range : undefined;
  }

  /** Where a range meets one that is known, the two become one. */
  add({ firstOffset, lastOffset, why }: DamagedRange): void {
    const touching = this.#ranges.filter(
      (range) => range.firstOffset <= lastOffset + 1 && range.lastOffset >= firstOffset - 1,
    );
    const merged = {
      firstOffset: Math.min(firstOffset, ...touching.map((range) => range.firstOffset)),
      lastOffset: Math.max(lastOffset, ...touching.map((range) => range.lastOffset)),
      why,
    };
    this.#ranges = [...this.#ranges.filter((range) => !touching.includes(range)), merged].sort(
      (a, b) => a.firstOffset - b.firstOffset,
    );
  }
}
