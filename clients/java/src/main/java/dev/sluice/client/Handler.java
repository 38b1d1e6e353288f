package dev.sluice.client;

/** What a consumer does with each message. */
@FunctionalInterface
public interface Handler {
  /**
   * Handles a message. To return is to acknowledge it; to throw is to nack it, with the exception's
   * text as the reason. A handler may settle the delivery by itself: what it did first counts.
   *
   * @param delivery the message, leased to this consumer until it is settled
   * @throws Exception when the message could not be handled
   */
  void handle(Delivery delivery) throws Exception;
}
