package dev.sluice.client;

import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.locks.Lock;

/**
 * Tells those who wait what became of their messages, on the client's executor. Guarded by its
 * owner's lock.
 */
final class Answers {
  private final Client client;
  private final Lock lock;
  private final UnreportedBatches unreported = new UnreportedBatches();

  Answers(Client client, Lock lock) {
    this.client = client;
    this.lock = lock;
  }

  /** A batch that will have an answer, behind all before it. */
  void expect(Batch batch) {
    unreported.add(batch);
  }

  /** Completes once the results of all batches that are here now have been reported. */
  CompletableFuture<Void> flushed() {
    return unreported.flushed();
  }

  /** The batch has its answer, and `tell` tells it. */
  void give(Batch batch, Runnable tell) {
    client.execute(
        () -> {
          try {
            tell.run();
          } finally {
            reported(batch);
          }
        });
  }

  private void reported(Batch batch) {
    List<CompletableFuture<Void>> flushed;
    lock.lock();
    try {
      flushed = unreported.reported(batch);
    } finally {
      lock.unlock();
    }
    for (CompletableFuture<Void> waiter : flushed) waiter.complete(null);
  }
}
