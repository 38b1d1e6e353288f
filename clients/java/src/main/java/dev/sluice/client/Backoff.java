package dev.sluice.client;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;
import org.jspecify.annotations.Nullable;

/**
 * The backoff before the next attempt: it doubles, with jitter. If the broker asks for a longer
 * delay, it is that delay. Guarded by the lock of its owner.
 */
final class Backoff {
  private final long minMs;
  private final long maxMs;

  /** The attempts that failed since the last success. */
  private int failures;

  Backoff(long minMs, long maxMs) {
    this.minMs = minMs;
    this.maxMs = maxMs;
  }

  long nextMs(@Nullable Duration asked) {
    double most = Math.min((double) maxMs, minMs * Math.pow(2, Math.min(failures, 30)));
    failures++;
    long drawn = (long) (most * ThreadLocalRandom.current().nextDouble(0.5, 1.0));
    return asked == null ? drawn : Math.max(drawn, asked.toMillis());
  }

  void succeeded() {
    failures = 0;
  }
}
