package dev.sluice.client;

import java.util.concurrent.locks.Lock;

/** Runs tasks later, under the lock of their owner. */
final class LockedTimer {
  private final Client client;
  private final Lock lock;

  LockedTimer(Client client, Lock lock) {
    this.client = client;
    this.lock = lock;
  }

  void after(long waitMs, Runnable task) {
    client.after(
        waitMs,
        () -> {
          lock.lock();
          try {
            task.run();
          } finally {
            lock.unlock();
          }
        });
  }
}
