import { limits } from '../../base/limits.js';

/** Limits a rate. Bursts are small, and time lost in a stall is not made up for. */
export class Pace {
  readonly #ratePerMs: number;
  #dueMs = Number.NEGATIVE_INFINITY;

  /** `ratePerSecond` 0: no limit. */
  constructor(ratePerSecond: number) {
    this.#ratePerMs = ratePerSecond === 0 ? Number.POSITIVE_INFINITY : ratePerSecond / 1000;
  }

  /** The largest number that may be taken at once. */
  get burst(): number {
    const burst = Math.floor(this.#ratePerMs * limits.redriveBurstMs);
    return Math.min(Math.max(1, burst), limits.redriveBatchMessages);
  }

  /** How long to wait before more may be taken. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#dueMs - nowMs);
  }

  taken(count: number, nowMs: number): void {
    this.#dueMs = Math.max(this.#dueMs, nowMs) + count / this.#ratePerMs;
  }
}
