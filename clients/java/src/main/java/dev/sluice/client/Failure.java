package dev.sluice.client;

import io.grpc.Status.Code;
import java.util.EnumSet;
import java.util.Set;

/** Decides what an error means for a producer or a consumer. */
final class Failure {
  /** Codes that may be retried, from the broker and from a proxy. */
  private static final Set<Code> RETRIABLE =
      EnumSet.of(Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.ABORTED);

  /** Codes of a stream or a call whose connection broke. */
  private static final Set<Code> BROKEN =
      EnumSet.of(Code.OK, Code.CANCELLED, Code.UNKNOWN, Code.INTERNAL, Code.DEADLINE_EXCEEDED);

  /** The broker stores no more messages of this producer. */
  private static final Set<String> PRODUCER_IS_OVER =
      Set.of("PRODUCER_FENCED", "SEQUENCE_REUSED", "TOPIC_DELETED", "AUTO_CREATE_DISABLED");

  private static final Set<Code> NOT_ALLOWED =
      EnumSet.of(Code.UNAUTHENTICATED, Code.PERMISSION_DENIED);
  private static final Set<Code> CONSUMER_IS_OVER =
      EnumSet.of(
          Code.NOT_FOUND,
          Code.FAILED_PRECONDITION,
          Code.INVALID_ARGUMENT,
          Code.PERMISSION_DENIED,
          Code.UNAUTHENTICATED,
          Code.UNIMPLEMENTED);

  private Failure() {}

  /** Whether a batch that the broker refused with this error may be retried. */
  static boolean isRetriable(SluiceException error) {
    return RETRIABLE.contains(error.code());
  }

  /** Whether a stream or a call that ended with this error may be retried. */
  static boolean isPassing(SluiceException error) {
    return RETRIABLE.contains(error.code()) || BROKEN.contains(error.code());
  }

  /**
   * RESOURCE_EXHAUSTED without a reason of the broker: from a proxy that limits the rate, or from a
   * library that refuses a large request.
   */
  static boolean isBareExhausted(SluiceException error) {
    return error.code() == Code.RESOURCE_EXHAUSTED && isBare(error);
  }

  /**
   * Whether the error has no reason of the broker: a proxy or a library made it, or the connection
   * broke.
   */
  static boolean isBare(SluiceException error) {
    return error.reason().equals(error.code().name());
  }

  static boolean endsProducer(SluiceException error) {
    return PRODUCER_IS_OVER.contains(error.reason()) || NOT_ALLOWED.contains(error.code());
  }

  static boolean endsConsumer(SluiceException error) {
    return CONSUMER_IS_OVER.contains(error.code()) && !error.reason().equals("SESSION_NOT_FOUND");
  }
}
