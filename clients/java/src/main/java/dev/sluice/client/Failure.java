package dev.sluice.client;

import io.grpc.Status.Code;
import java.util.EnumSet;
import java.util.Set;

/** What an error means for who met it. */
final class Failure {
  /** Codes that may be retried, whether the broker or a proxy sent them. */
  private static final Set<Code> RETRIABLE =
      EnumSet.of(Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.ABORTED);

  /** What a stream or a call ends with when the connection, or something on the way, breaks. */
  private static final Set<Code> BROKEN =
      EnumSet.of(Code.OK, Code.CANCELLED, Code.UNKNOWN, Code.INTERNAL, Code.DEADLINE_EXCEEDED);

  /** Nothing of this producer can be stored any more. */
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

  /** Of one batch, by the broker's decision. */
  static boolean isRetriable(SluiceException error) {
    return RETRIABLE.contains(error.code());
  }

  /** Of a stream or a call. */
  static boolean isPassing(SluiceException error) {
    return RETRIABLE.contains(error.code()) || BROKEN.contains(error.code());
  }

  /**
   * RESOURCE_EXHAUSTED with no reason of the broker's: a proxy's rate limit, or a library that
   * finds a request too large.
   */
  static boolean isBareExhausted(SluiceException error) {
    return error.code() == Code.RESOURCE_EXHAUSTED && isBare(error);
  }

  /** No reason of the broker's: something on the way says so, or the connection broke. */
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
