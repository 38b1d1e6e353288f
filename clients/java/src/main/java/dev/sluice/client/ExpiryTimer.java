package dev.sluice.client;

import java.util.concurrent.TimeUnit;

/** Calls the outbox when the next batch expires. Guarded by the lock of the outbox. */
final class ExpiryTimer {
  /** The minimum time between two checks for expired batches. */
  private static final long STEP_MS = 10;

  private final LockedTimer timer;
  private final Runnable check;
  private long nextAtNanos;
  private boolean isSet;

  ExpiryTimer(LockedTimer timer, Runnable check) {
    this.timer = timer;
    this.check = check;
  }

  /** Checks at this time of System.nanoTime, unless an earlier check is set. */
  void checkAt(long atNanos) {
    if (isSet && nextAtNanos - atNanos <= 0) return;
    isSet = true;
    nextAtNanos = atNanos;
    long waitMs = TimeUnit.NANOSECONDS.toMillis(atNanos - System.nanoTime()) + 1;
    timer.after(
        Math.max(STEP_MS, waitMs),
        () -> {
          isSet = false;
          check.run();
        });
  }
}
