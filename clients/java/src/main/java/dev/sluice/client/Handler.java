package dev.sluice.client;

/** Handles the messages of a consumer. */
@FunctionalInterface
public interface Handler {
  /**
   * Handles a message. When this method returns, the client acknowledges the message. When it
   * throws, the client nacks the message, with the text of the exception as the reason. A handler
   * may settle the delivery itself: the first settlement counts.
   *
   * @param delivery the message, leased to this consumer until it is settled
   * @throws Exception when the message could not be handled
   */
  void handle(Delivery delivery) throws Exception;
}
