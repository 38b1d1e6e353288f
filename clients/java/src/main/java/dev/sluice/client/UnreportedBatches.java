package dev.sluice.client;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * Closed batches, in their order, whose results have not been reported to their senders yet.
 * Guarded by the lock of its owner.
 */
final class UnreportedBatches {
  private final ArrayDeque<Batch> batches = new ArrayDeque<>();

  void add(Batch batch) {
    batches.add(batch);
  }

  /** Completes once the results of all batches that are here now have been reported. */
  CompletableFuture<Void> flushed() {
    Batch last = batches.peekLast();
    if (last == null) return CompletableFuture.completedFuture(null);
    if (last.flushed == null) last.flushed = new CompletableFuture<>();
    return last.flushed.copy();
  }

  /** The flushes that end with this batch; the caller completes them without the lock. */
  List<CompletableFuture<Void>> reported(Batch batch) {
    batch.isReported = true;
    List<CompletableFuture<Void>> flushed = new ArrayList<>();
    while (!batches.isEmpty() && batches.peek().isReported) {
      CompletableFuture<Void> waiter = batches.poll().flushed;
      if (waiter != null) flushed.add(waiter);
    }
    return flushed;
  }
}
