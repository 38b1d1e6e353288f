package dev.sluice.client;

import java.util.concurrent.CompletionStage;
import org.jspecify.annotations.Nullable;

/** Handles the messages of a consumer without a thread of its own. */
@FunctionalInterface
public interface AsyncHandler {
  /**
   * Begins to handle a message. When the stage completes, the client acknowledges the message. When
   * the stage fails, the client nacks it. Until then the handler counts as running: the client
   * begins no other message of the same partition (or key).
   *
   * @param delivery the message, leased to this consumer until it is settled
   * @return completes when the message has been handled; null if it is handled already
   * @throws Exception when the message could not be handled
   */
  @Nullable CompletionStage<?> handle(Delivery delivery) throws Exception;
}
