/** Offsets of one partition that can't be read. Both ends included. */
export interface DamagedRange {
  readonly firstOffset: number;
  readonly lastOffset: number;
  /** A description of the damage, for people. */
  readonly why: string;
}

/** The damage found in one partition since the store was opened, by offset. Nearly always empty. */
export class DamagedOffsets {
  #ranges: DamagedRange[] = [];

  /** The first damaged range that ends at or after `offset`. */
  from(offset: number): DamagedRange | undefined {
    return this.#ranges.find(({ lastOffset }) => lastOffset >= offset);
  }

  /** The damaged range that contains `offset`. */
  at(offset: number): DamagedRange | undefined {
    const range = this.from(offset);
    return range !== undefined && range.firstOffset <= offset ? range : undefined;
  }

  /** A range that touches a known one is merged with it. */
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
