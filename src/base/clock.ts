/**
 * The source of time. Every other module gets a Clock, so that tests can control it.
 *
 * Two times, never mixed: `wallMs` is the time for people and other machines (publish times, retention), and may
 * jump; `monotonicMs` is for deadlines, and only moves forward.
 */
export interface Clock {
  /** Milliseconds since 1970-01-01 UTC, whole. */
  wallMs(): number;
  /** Milliseconds since an arbitrary start, with fractions. */
  monotonicMs(): number;
  /** Calls `wake` once, not before `delayMs` have passed. A timer does not keep the process alive. */
  after(delayMs: number, wake: () => void): Timer;
}

export interface Timer {
  /** May be called after the timer has fired. */
  cancel(): void;
}

/**
 * Node fires timers above this limit at once. Longer delays are cut to it, and the caller checks the time again.
 */
const longestDelayMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, wake) {
    const handle = setTimeout(wake, Math.min(Math.max(0, delayMs), longestDelayMs));
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};
