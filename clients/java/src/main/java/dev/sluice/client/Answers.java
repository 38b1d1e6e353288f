package dev.sluice.client;

import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.locks.Lock;

/** Tells those who wait what became of their messages, on the client's executor. Guarded by its owner's lock. */
final class Answers {
  private final Client client;
  private final Lock lock;
  private final Untold untold = new Untold();

  Answers(Client client, Lock lock) {
    this.client = client;
    this.lock = lock;
  }

  /** A batch that will have an answer, behind all before it. */
  void expect(Batch batch) {
    untold.add(batch);
  }

  /** Completes once all that are here have been told. */
  CompletableFuture<Void> flushed() {
    return untold.flushed();
  }

  /** The batch has its answer, and `tell` tells it. */
  void give(Batch batch, Runnable tell) {
    client.execute(() -> {
      try {
        tell.run();
      } finally {
        told(batch);
      }
    });
  }

  private void told(Batch batch) {
    List<CompletableFuture<Void>> flushed;
    lock.lock();
    try {
      flushed = untold.told(batch);
    } finally {
      lock.unlock();
    }
    for (CompletableFuture<Void> waiter : flushed) waiter.complete(null);
  }
}
