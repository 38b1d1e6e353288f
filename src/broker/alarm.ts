import type { Clock, Timer } from '../base/clock.js';
import { DeadlineHeap } from '../base/deadline-heap.js';

/** Something that the alarm wakes at a time that the sleeper chooses. */
export interface Sleeper {
  wake(nowMs: number): void;
}

/** The broker's one timer, shared by any number of sleepers. Times are monotonic. */
export class Alarm {
  readonly #clock: Clock;
  readonly #heap = new DeadlineHeap<Sleeper>();
  #timer: Timer | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Wakes the sleeper once, not before this time. A later call moves the time; Infinity cancels it. */
  set(sleeper: Sleeper, atMs: number): void {
    this.#heap.set(sleeper, atMs);
    // A timer that fires too early costs one check. Moving the timer at every change would cost more.
    if (this.#heap.nextAtMs < this.#timerAtMs) this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timerAtMs = Number.NEGATIVE_INFINITY;
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAtMs = this.#heap.nextAtMs;
    if (this.#timerAtMs === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#clock.after(this.#timerAtMs - this.#clock.monotonicMs(), () => this.#ring());
  }

  #ring(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    for (;;) {
      const sleeper = this.#heap.popDue(nowMs);
      if (sleeper === undefined) break;
      sleeper.wake(nowMs);
    }
    if (this.#timerAtMs === Number.POSITIVE_INFINITY) this.#arm();
  }
}
