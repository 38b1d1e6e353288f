package dev.sluice.client;

import io.grpc.Status.Code;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The buffer of a producer in bytes, and those who wait for room in it. Guarded by its owner's
 * lock.
 */
final class Room {
  private final ProducerBuilder settings;
  private final Condition changed;
  private long usedBytes;

  Room(ReentrantLock lock, ProducerBuilder settings) {
    this.changed = lock.newCondition();
    this.settings = settings;
  }

  /** A message may pass the limit, so that a large one is never stuck. */
  boolean isFull() {
    return usedBytes >= settings.bufferMaxBytes;
  }

  void take(long bytes) {
    usedBytes += bytes;
    // A sender that was woken wakes the next one, where there is room for it, too.
    if (!isFull()) changed.signal();
  }

  void free(long bytes) {
    usedBytes -= bytes;
    if (!isFull()) changed.signal();
  }

  /** Nothing is taken any more. */
  void wakeAll() {
    changed.signalAll();
  }

  SluiceException full() {
    return SluiceException.bufferFull(usedBytes);
  }

  /**
   * Waits until something has changed. Why the message is not taken; null where that is to be
   * looked at again.
   */
  SluiceException await(long expiresAtNanos) {
    try {
      if (settings.retryTimeoutMs == 0) {
        changed.await();
      } else if (changed.awaitNanos(expiresAtNanos - System.nanoTime()) <= 0 && isFull()) {
        return SluiceException.retryTimeout(settings.retryTimeoutMs, "the buffer is full");
      }
      return null;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      changed.signal();
      return new SluiceException(
          Code.CANCELLED, Code.CANCELLED.name(), "interrupted while the buffer was full");
    }
  }
}
