package dev.sluice.client;

/** The states of the stream of a producer. */
sealed interface OutboxState {
  /** Batches are sent over the stream. */
  record Streaming(PublishStream stream) implements OutboxState {}

  /** No batch is sent: the stream broke, or a batch was refused. */
  record Recovering() implements OutboxState {}

  /** The producer has ended. */
  record Over(SluiceException error) implements OutboxState {}
}
