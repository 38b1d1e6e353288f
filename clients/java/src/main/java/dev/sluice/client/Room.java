package dev.sluice.client;

import io.grpc.Status.Code;
import java.util.concurrent.locks.Condition;
import org.jspecify.annotations.Nullable;

/**
 * The bytes in the buffer of a producer, and the senders that wait for room in it. Guarded by the
 * lock of the outbox.
 */
final class Room {
  private final ProducerBuilder settings;

  /** Of the lock of the outbox. */
  private final Condition changed;

  private long usedBytes;

  Room(Condition changed, ProducerBuilder settings) {
    this.changed = changed;
    this.settings = settings;
  }

  /** One message may exceed the limit, so that a large message is never stuck. */
  boolean isFull() {
    return usedBytes >= settings.bufferMaxBytes;
  }

  void take(long bytes) {
    usedBytes += bytes;
    // One signal wakes one sender. It wakes the next sender, if there is room for another message.
    if (!isFull()) changed.signal();
  }

  void free(long bytes) {
    usedBytes -= bytes;
    if (!isFull()) changed.signal();
  }

  /** Wakes all senders: the producer accepts no more messages. */
  void wakeAll() {
    changed.signalAll();
  }

  SluiceException full() {
    return SluiceException.bufferFull(usedBytes);
  }

  /**
   * Waits until there may be room. Returns the error of the message, or null if the caller has to
   * check again.
   */
  // The caller has the loop: it also checks whether the producer has ended.
  @SuppressWarnings("WaitNotInLoop")
  @Nullable SluiceException await(long expiresAtNanos) {
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
