import type { Clock, Timer } from '../../src/base/clock.js';
import { VirtualClock } from '../support/virtual-clock.js';

/** A day like any other. */
const startWallMs = Date.UTC(2026, 0, 1);

/** A virtual clock whose wall time can be set, as people and time servers do. */
export class SimulatedClock extends VirtualClock {
  #wallAheadMs = startWallMs;

  override wallMs(): number {
    return super.wallMs() + this.#wallAheadMs;
  }

  /** How far it is ahead of a clock that was never set. */
  setWall(aheadMs: number): void {
    this.#wallAheadMs = startWallMs + aheadMs;
  }
}

/** The clock as one process sees it: with the process its timers end. */
export class CutClock implements Clock {
  readonly #clock: Clock;
  #isCut = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  wallMs(): number {
    return this.#clock.wallMs();
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  after(delayMs: number, wake: () => void): Timer {
    return this.#clock.after(delayMs, () => {
      if (!this.#isCut) wake();
    });
  }

  cut(): void {
    this.#isCut = true;
  }
}
