package dev.sluice.client;

import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;

/**
 * Runs handlers, up to `concurrency` at once. A worker takes one delivery after the other, as long
 * as there are any: a change of threads for each would cost more than most handlers do.
 */
final class Dispatcher {
  private final Client client;
  private final AsyncHandler handler;
  private final int concurrency;
  private final Inbox inbox;

  // Guarded by the lock of the inbox.
  /** Threads that take deliveries, or are about to. */
  private int workerCount;

  /** Of these, with a handler. */
  private int handlingCount;

  /** Handlers that have returned and go on without a thread. */
  private int detachedCount;

  Dispatcher(Client client, ConsumerBuilder settings, AsyncHandler handler) {
    this.client = client;
    this.handler = handler;
    this.concurrency = settings.concurrency;
    this.inbox =
        new Inbox(client, settings, true, this::mayBegin, () -> runningCount() < concurrency);
  }

  Inbox inbox() {
    return inbox;
  }

  /** Handlers that run; under the lock. */
  int runningCount() {
    return handlingCount + detachedCount;
  }

  private void mayBegin() {
    while (workerCount - handlingCount < inbox.readyCount()
        && workerCount + detachedCount < concurrency) {
      workerCount++;
      client.execute(this::work);
    }
  }

  private void work() {
    Delivery delivery = null;
    Throwable thrown = null;
    for (; ; ) {
      delivery = next(delivery, thrown);
      if (delivery == null) return;
      thrown = null;
      try {
        CompletionStage<?> stage = handler.handle(delivery);
        if (stage != null && detach(stage, delivery)) delivery = null;
      } catch (Throwable failed) {
        thrown = failed;
      }
      if (delivery == null && !mayGoOn()) return;
    }
  }

  /** Takes what is next, once what was before is settled. */
  private Delivery next(Delivery handled, Throwable thrown) {
    inbox.lock.lock();
    try {
      if (handled != null) {
        handlingCount--;
        inbox.handled(handled, thrown);
      }
      Delivery delivery = inbox.begin();
      if (delivery == null) {
        workerCount--;
      } else {
        handlingCount++;
        // What it left behind may be for others.
        mayBegin();
      }
      return delivery;
    } finally {
      inbox.lock.unlock();
    }
  }

  /** True where the handler goes on by itself. */
  private boolean detach(CompletionStage<?> stage, Delivery delivery) {
    inbox.lock.lock();
    try {
      handlingCount--;
      detachedCount++;
    } finally {
      inbox.lock.unlock();
    }
    stage.whenComplete(
        (value, failed) -> {
          inbox.lock.lock();
          try {
            detachedCount--;
            inbox.handled(delivery, failed == null ? null : rootOf(failed));
            mayBegin();
          } finally {
            inbox.lock.unlock();
          }
        });
    return true;
  }

  /** A worker whose handler has been detached stays, if one more may run. */
  private boolean mayGoOn() {
    inbox.lock.lock();
    try {
      if (workerCount + detachedCount <= concurrency) return true;
      workerCount--;
      return false;
    } finally {
      inbox.lock.unlock();
    }
  }

  private static Throwable rootOf(Throwable failed) {
    boolean isWrapped = failed instanceof CompletionException && failed.getCause() != null;
    return isWrapped ? failed.getCause() : failed;
  }
}
