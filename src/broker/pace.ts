import { limits } from '../base/limits.js';

/** Keeps to a rate: small bursts, none of them before its time, and nothing made up for after a stall. */
export class Pace {
  readonly #ratePerMs: number;
  #dueMs = Number.NEGATIVE_INFINITY;

  /** 0: as fast as it goes. */
  constructor(ratePerSecond: number) {
    this.#ratePerMs = ratePerSecond === 0 ? Number.POSITIVE_INFINITY : ratePerSecond / 1000;
  }

  /** The most that may be taken at once. */
  get burst(): number {
    const burst = Math.floor(this.#ratePerMs * limits.redriveBurstMs);
    return Math.min(Math.max(1, burst), limits.redriveBatchMessages);
  }

  /** How long to wait before anything more may be taken. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#dueMs - nowMs);
  }

  taken(count: number, nowMs: number): void {
    this.#dueMs = Math.max(this.#dueMs, nowMs) + count / this.#ratePerMs;
  }
}
