import type { Clock } from '../../base/clock.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';

/**
 * The publish times of rounds. They never go back by a little: if the wall clock is set back by up to
 * `limits.clockHoldMs`, the publish time stands still until the clock has caught up. A clock that is set back by
 * more was wrong before, and is followed: a message with a time years ahead must not determine the times of all
 * later ones. Partitions note where that happened (`Extent.clockSteps`).
 */
export class PublishClock {
  readonly #clock: Clock;
  readonly #logger: Logger;
  #lastMs: number;

  /** `lastMs`: the latest publish time in the store, 0 for none. */
  constructor(clock: Clock, logger: Logger, lastMs: number) {
    this.#clock = clock;
    this.#logger = logger;
    this.#lastMs = lastMs;
  }

  next(): number {
    const wallMs = this.#clock.wallMs();
    const aheadMs = this.#lastMs - wallMs;
    if (aheadMs > limits.clockHoldMs) {
      const times = { lastPublishTime: isoTime(this.#lastMs), now: isoTime(wallMs), setBackMs: aheadMs };
      this.#logger.warn(times, 'the wall clock was set back: publish times follow it');
      this.#lastMs = wallMs;
    }
    this.#lastMs = Math.max(this.#lastMs, wallMs);
    return this.#lastMs;
  }
}

/** The largest time that a Date can hold stands for all later ones. */
function isoTime(timeMs: number): string {
  return new Date(Math.min(timeMs, 8.64e15)).toISOString();
}
