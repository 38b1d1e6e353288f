package dev.sluice.client;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * Batches, in their order, whose results have not been reported to their senders yet. It has a lock
 * of its own, because results are reported without the lock of the outbox.
 */
final class UnreportedBatches {
  private final ArrayDeque<Batch> batches = new ArrayDeque<>();

  synchronized void add(Batch batch) {
    batches.add(batch);
  }

  /** Completes once the results of all batches that are here now have been reported. */
  synchronized CompletableFuture<@Nullable Void> flushed() {
    Batch last = batches.peekLast();
    if (last == null) return CompletableFuture.completedFuture(null);
    if (last.flushed == null) last.flushed = new CompletableFuture<>();
    return last.flushed.copy();
  }

  /** Marks the batch, and returns the flushes that end with it. The caller completes them. */
  synchronized List<CompletableFuture<@Nullable Void>> reported(Batch batch) {
    batch.isReported = true;
    List<CompletableFuture<@Nullable Void>> flushed = new ArrayList<>();
    for (Batch first = batches.peek(); first != null && first.isReported; first = batches.peek()) {
      batches.remove();
      if (first.flushed != null) flushed.add(first.flushed);
    }
    return flushed;
  }
}
