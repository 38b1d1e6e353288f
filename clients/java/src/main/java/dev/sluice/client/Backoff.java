package dev.sluice.client;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/**
 * The pause before the next try: doubling, with jitter; longer where the broker asks for it.
 * Guarded by its owner's lock.
 */
final class Backoff {
  private final long minMs;
  private final long maxMs;

  /** Tries since the last success. */
  private int failures;

  Backoff(long minMs, long maxMs) {
    this.minMs = minMs;
    this.maxMs = maxMs;
  }

  long nextMs(Duration asked) {
    double most = Math.min(maxMs, minMs * Math.pow(2, Math.min(failures, 30)));
    failures++;
    long drawn = (long) (most * ThreadLocalRandom.current().nextDouble(0.5, 1.0));
    return asked == null ? drawn : Math.max(drawn, asked.toMillis());
  }

  void succeeded() {
    failures = 0;
  }
}
