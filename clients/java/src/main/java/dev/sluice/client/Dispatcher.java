package dev.sluice.client;

import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;

/**
 * Runs the handlers of a consumer. A worker takes one delivery after another while there are any,
 * because a new task for each delivery costs more than most handlers.
 */
final class Dispatcher {
  private final AsyncHandler handler;
  private final Inbox inbox;

  Dispatcher(Client client, ConsumerBuilder settings, AsyncHandler handler) {
    this.handler = handler;
    this.inbox = new Inbox(client, settings, settings.concurrency, this::work);
  }

  Inbox inbox() {
    return inbox;
  }

  private void work() {
    Delivery delivery = null;
    Throwable thrown = null;
    for (; ; ) {
      delivery = inbox.next(delivery, thrown);
      if (delivery == null) return;
      thrown = null;
      try {
        CompletionStage<?> stage = handler.handle(delivery);
        if (stage != null) {
          detach(stage, delivery);
          delivery = null;
        }
      } catch (Throwable failed) {
        thrown = failed;
      }
      if (delivery == null && !inbox.mayContinue()) return;
    }
  }

  /** The handler has returned a stage. The delivery is handled when the stage completes. */
  private void detach(CompletionStage<?> stage, Delivery delivery) {
    inbox.detach();
    stage.whenComplete(
        (value, failed) ->
            inbox.detachedCompleted(delivery, failed == null ? null : rootOf(failed)));
  }

  private static Throwable rootOf(Throwable failed) {
    Throwable cause = failed.getCause();
    return failed instanceof CompletionException && cause != null ? cause : failed;
  }
}
