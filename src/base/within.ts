import type { Clock } from './clock.js';

/**
 * Waits for a promise, at most `limitMs`. Returns true if it resolved in time. Throws a rejection in time; ignores
 * a later one.
 */
export async function within(clock: Clock, limitMs: number, promise: Promise<unknown>): Promise<boolean> {
  let isInTime = true;
  const done = promise.then(
    () => true,
    (error: unknown) => {
      if (isInTime) throw error;
      return false;
    },
  );
  let giveUp: (value: false) => void = () => {};
  const late = new Promise<false>((resolve) => {
    giveUp = resolve;
  });
  const timer = clock.after(limitMs, () => {
    isInTime = false;
    giveUp(false);
  });
  try {
    return await Promise.race([done, late]);
  } finally {
    timer.cancel();
  }
}
