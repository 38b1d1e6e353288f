package dev.sluice.client;

/**
 * Counts the workers of a consumer that runs handlers, at most `concurrency` at once. A consumer
 * that is iterated has none: its concurrency is 0. Guarded by the lock of the inbox.
 */
final class Workers {
  private final int concurrency;

  /** Workers that take deliveries, or are about to. */
  private int workerCount;

  /** The workers among them that are in a handler. */
  private int handlingCount;

  /** Handlers that have returned a stage that is not complete. They need no worker. */
  private int detachedCount;

  Workers(int concurrency) {
    this.concurrency = concurrency;
  }

  /** Handlers that are not complete. */
  int runningCount() {
    return handlingCount + detachedCount;
  }

  boolean hasFreeHandler() {
    return runningCount() < concurrency;
  }

  /** Whether one more worker is to start, for lanes that may begin a delivery. It then counts. */
  boolean mayStart(int readyCount) {
    boolean mayStart =
        workerCount - handlingCount < readyCount && workerCount + detachedCount < concurrency;
    if (mayStart) workerCount++;
    return mayStart;
  }

  void handlerBegins() {
    handlingCount++;
  }

  void handlerReturned() {
    handlingCount--;
  }

  void detach() {
    handlingCount--;
    detachedCount++;
  }

  void detachedCompleted() {
    detachedCount--;
  }

  /** Whether a worker whose handler was detached may take another delivery. Otherwise it ends. */
  boolean mayContinue() {
    if (workerCount + detachedCount <= concurrency) return true;
    workerEnds();
    return false;
  }

  void workerEnds() {
    workerCount--;
  }
}
