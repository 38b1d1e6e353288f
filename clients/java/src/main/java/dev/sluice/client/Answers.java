package dev.sluice.client;

import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** Reports the results of messages to their senders, on the client's executor. Thread-safe. */
final class Answers {
  private final Client client;
  private final UnreportedBatches unreported = new UnreportedBatches();

  Answers(Client client) {
    this.client = client;
  }

  /** Adds a batch whose results will be reported. Batches are added in the order of `send`. */
  void expect(Batch batch) {
    unreported.add(batch);
  }

  /** Completes once the results of all batches that are here now have been reported. */
  CompletableFuture<@Nullable Void> flushed() {
    return unreported.flushed();
  }

  /** Runs `report`, which reports the results of the batch, and completes the flushes behind it. */
  void give(Batch batch, Runnable report) {
    client.execute(
        () -> {
          try {
            report.run();
          } finally {
            for (CompletableFuture<@Nullable Void> flush : unreported.reported(batch))
              flush.complete(null);
          }
        });
  }
}
