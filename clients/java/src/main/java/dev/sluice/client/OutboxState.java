package dev.sluice.client;

/** How a producer stands with the broker. */
sealed interface OutboxState {
  /** Batches go out over the stream. */
  record Streaming(PublishStream stream) implements OutboxState {}

  /**
   * Nothing goes out: the stream broke, or a batch was refused and those behind it have to be
   * answered first.
   */
  record Recovering() implements OutboxState {}

  /** For good. */
  record Over(SluiceException error) implements OutboxState {}
}
