import type { Clock, Timer } from '../../src/base/clock.js';
import { DeadlineHeap } from '../../src/base/deadline-heap.js';

/** A clock that moves only when told. Timers that a test does not advance to never fire: `pendingCount` shows them. */
export class VirtualClock implements Clock {
  #nowMs: number;
  readonly #timers = new DeadlineHeap<{ wake: () => void }>();

  constructor(startMs = 1_000_000) {
    this.#nowMs = startMs;
  }

  get pendingCount(): number {
    return this.#timers.size;
  }

  /** When the next timer fires; Infinity when there is none. */
  get nextAtMs(): number {
    return this.#timers.nextAtMs;
  }

  wallMs(): number {
    return Math.floor(this.#nowMs);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, wake: () => void): Timer {
    const timer = { wake };
    this.#timers.set(timer, this.#nowMs + Math.max(0, delayMs));
    return { cancel: () => this.#timers.delete(timer) };
  }

  /** Moves on, firing what falls due on the way, each at its own time. */
  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs;
    while (this.#timers.nextAtMs <= untilMs) {
      this.#nowMs = Math.max(this.#nowMs, this.#timers.nextAtMs);
      this.#timers.popDue(this.#nowMs)?.wake();
    }
    this.#nowMs = untilMs;
  }

  /** The machine was asleep: what fell due meanwhile fires now, all at once. */
  leap(byMs: number): void {
    this.#nowMs += byMs;
    this.advance(0);
  }
}
