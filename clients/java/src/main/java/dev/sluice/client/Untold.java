package dev.sluice.client;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** Batches that are closed, in their order, while those who wait for their messages have not been told. Guarded by its owner's lock. */
final class Untold {
  private final ArrayDeque<Batch> batches = new ArrayDeque<>();

  void add(Batch batch) {
    batches.add(batch);
  }

  /** Completes once all that are here have been told. */
  CompletableFuture<Void> flushed() {
    Batch last = batches.peekLast();
    if (last == null) return CompletableFuture.completedFuture(null);
    if (last.flushed == null) last.flushed = new CompletableFuture<>();
    return last.flushed.copy();
  }

  /** Those who wait for a flush that is over with this batch; to be completed without the lock. */
  List<CompletableFuture<Void>> told(Batch batch) {
    batch.isTold = true;
    List<CompletableFuture<Void>> flushed = new ArrayList<>();
    while (!batches.isEmpty() && batches.peek().isTold) {
      CompletableFuture<Void> waiter = batches.poll().flushed;
      if (waiter != null) flushed.add(waiter);
    }
    return flushed;
  }
}
