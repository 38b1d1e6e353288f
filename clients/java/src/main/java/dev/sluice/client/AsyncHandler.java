package dev.sluice.client;

import java.util.concurrent.CompletionStage;

/** What a consumer does with each message, where that does not need a thread. */
@FunctionalInterface
public interface AsyncHandler {
  /**
   * Begins to handle a message. When the stage completes, the message is acknowledged; when it
   * fails, the message is nacked. Until then the handler counts as running: nothing else of the
   * same partition (or key) begins.
   *
   * @param delivery the message, leased to this consumer until it is settled
   * @return completes when the message has been handled
   * @throws Exception when the message could not be handled
   */
  CompletionStage<?> handle(Delivery delivery) throws Exception;
}
