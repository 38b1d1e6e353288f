import { Fifo } from '../../base/fifo.js';

/** Limits how many reads of the disk run at once. The others wait, first come, first served. */
export class ReadSlots {
  #freeCount: number;
  readonly #waiting = new Fifo<() => void>();

  constructor(count: number) {
    this.#freeCount = count;
  }

  async run<T>(read: () => Promise<T>): Promise<T> {
    if (this.#freeCount > 0) this.#freeCount--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await read();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#freeCount++;
      else next();
    }
  }
}
