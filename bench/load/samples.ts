import { systemClock, type Timer } from '../../src/base/clock.js';

/** A running total at a time of the wall clock, which all processes of a machine share. */
export interface Sample {
  readonly atMs: number;
  readonly total: number;
}

/** Notes a total again and again. */
export class SampleLog {
  readonly #samples: Sample[] = [];
  readonly #everyMs: number | undefined;
  readonly #total: () => number;
  #timer: Timer | undefined;

  /** `everyMs` undefined: never. */
  constructor(everyMs: number | undefined, total: () => number) {
    this.#everyMs = everyMs;
    this.#total = total;
    if (everyMs !== undefined) this.#note();
  }

  /** Ends it, and answers what was noted. */
  stop(): readonly Sample[] {
    this.#timer?.cancel();
    return this.#samples;
  }

  #note(): void {
    this.#samples.push({ atMs: systemClock.wallMs(), total: this.#total() });
    this.#timer = systemClock.after(this.#everyMs!, () => this.#note());
  }
}
