import { createRandom, type Random } from '../../src/base/random.js';

/** Everything that a run decides by chance. */
export class Chance {
  readonly random: Random;

  constructor(seed: number) {
    this.random = createRandom(seed);
  }

  /** From 0 up to but not including `end`. */
  below(end: number): number {
    return Math.floor(this.random.next() * end);
  }

  /** One time in `n`. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(items: readonly [T, ...T[]]): T;
  pick<T>(items: readonly T[]): T | undefined;
  pick<T>(items: readonly T[]): T | undefined {
    return items[this.below(items.length)];
  }

  /** A key of the table, as often as its weight says. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as [K, number][];
    let left = this.random.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [key, weight] of entries) {
      left -= weight;
      if (left < 0) return key;
    }
    return entries[0]![0];
  }
}
