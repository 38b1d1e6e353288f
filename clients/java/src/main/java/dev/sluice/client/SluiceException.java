package dev.sluice.client;

import com.google.rpc.BadRequest;
import dev.sluice.v1.ErrorReason;
import dev.sluice.v1.PublishError;
import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The failure of a call: the broker refused the call, the broker could not be reached, or the
 * producer or consumer has ended. Programs can decide by {@link #reason()}, whose values keep their
 * meaning.
 */
public final class SluiceException extends RuntimeException {
  /** The reason of a {@code send} that failed because the buffer of the producer was full. */
  public static final String BUFFER_FULL = "BUFFER_FULL";

  /** The reason of a call to a client, producer or consumer that is closed. */
  public static final String CLOSED = "CLOSED";

  /**
   * The reason of a message that was not stored within the {@code retryTimeoutMs} of its producer.
   */
  public static final String RETRY_TIMEOUT = "RETRY_TIMEOUT";

  private static final long serialVersionUID = 1L;

  /** The status code of gRPC. */
  private final Status.Code code;

  /** The stable name. */
  private final String reason;

  private final transient Map<String, String> metadata;
  private final transient List<FieldViolation> fieldViolations;

  /** Null if the broker did not say. */
  private final @Nullable Duration retryDelay;

  SluiceException(Status.Code code, String reason, String message) {
    this(code, reason, message, ErrorDetails.NONE, null);
  }

  SluiceException(
      Status.Code code,
      String reason,
      String message,
      ErrorDetails details,
      @Nullable Throwable cause) {
    super(message, cause);
    this.code = code;
    this.reason = reason;
    this.metadata = details.metadata();
    this.fieldViolations = details.fieldViolations();
    this.retryDelay = details.retryDelay();
  }

  /**
   * Converts what a call threw into a SluiceException, with the reason, details and retry delay
   * that the broker sent.
   *
   * @param thrown by a generated stub, by a future ({@code CompletionException}), or by this client
   * @return the SluiceException itself if it is one; an exception with UNKNOWN for any other
   *     exception
   */
  public static SluiceException from(Throwable thrown) {
    for (@Nullable Throwable at = thrown; at != null; at = at.getCause()) {
      if (at instanceof SluiceException known) return known;
      ErrorDetails details = ErrorDetails.of(at);
      if (details != null) {
        Status status = details.status();
        String reason = details.reason().isEmpty() ? status.getCode().name() : details.reason();
        String text =
            status.getDescription() == null ? status.getCode().name() : status.getDescription();
        return new SluiceException(status.getCode(), reason, text, details, thrown);
      }
    }
    return new SluiceException(
        Status.Code.UNKNOWN,
        Status.Code.UNKNOWN.name(),
        String.valueOf(thrown),
        ErrorDetails.NONE,
        thrown);
  }

  /** The error of one batch of a PublishStream. */
  static SluiceException from(PublishError error) {
    Status.Code code = Status.fromCodeValue(error.getCode()).getCode();
    String reason = error.getReason().isEmpty() ? code.name() : error.getReason();
    @Nullable Duration delay =
        error.hasRetryDelay() ? ErrorDetails.toDuration(error.getRetryDelay()) : null;
    ErrorDetails details =
        new ErrorDetails(Status.fromCode(code), reason, Map.of(), List.of(), delay);
    return new SluiceException(code, reason, error.getMessage(), details, null);
  }

  static SluiceException closed(String what) {
    return new SluiceException(Status.Code.CANCELLED, CLOSED, what + " is closed");
  }

  static SluiceException bufferFull(long bufferedBytes) {
    String text = bufferedBytes + " bytes wait for their receipt: the buffer is full";
    return new SluiceException(Status.Code.RESOURCE_EXHAUSTED, BUFFER_FULL, text);
  }

  static SluiceException retryTimeout(long afterMs, String why) {
    String text = "not stored within " + Duration.ofMillis(afterMs) + ": " + why;
    return new SluiceException(Status.Code.DEADLINE_EXCEEDED, RETRY_TIMEOUT, text);
  }

  static SluiceException fenced(String producerId, long epoch) {
    String text =
        "another process has opened producer \""
            + producerId
            + "\" with epoch "
            + epoch
            + ": this one is over";
    return new SluiceException(Status.Code.FAILED_PRECONDITION, "PRODUCER_FENCED", text);
  }

  static SluiceException topicDeleted(String topic) {
    return new SluiceException(
        Status.Code.FAILED_PRECONDITION, "TOPIC_DELETED", "topic \"" + topic + "\" was deleted");
  }

  static SluiceException oldBroker() {
    String text =
        "the broker has no OpenProducer: it is too old for this client, and has to be upgraded"
            + " first";
    return new SluiceException(Status.Code.UNIMPLEMENTED, "UNIMPLEMENTED", text);
  }

  /**
   * The status code of gRPC, for proxies and libraries.
   *
   * @return the code
   */
  public Status.Code code() {
    return code;
  }

  /**
   * The stable name of the error: {@code TOPIC_NOT_FOUND}. If the broker gave none (it did not
   * answer, or a proxy answered), it is the name of the code: {@code UNAVAILABLE}.
   *
   * @return a name of {@link ErrorReason} without its prefix, the name of a code, or a reason of
   *     this client's own
   */
  public String reason() {
    return reason;
  }

  /**
   * The reason as a value of the protocol.
   *
   * @return {@code ERROR_REASON_UNSPECIFIED} if this version of the client does not know the reason
   */
  public ErrorReason errorReason() {
    try {
      return ErrorReason.valueOf("ERROR_REASON_" + reason);
    } catch (IllegalArgumentException unknown) {
      return ErrorReason.ERROR_REASON_UNSPECIFIED;
    }
  }

  /**
   * Details for programs, by name.
   *
   * @return empty if the broker sent none
   */
  public Map<String, String> metadata() {
    return metadata == null ? Map.of() : metadata;
  }

  /**
   * The errors of the request, one for each field.
   *
   * @return empty if the broker sent none
   */
  public List<FieldViolation> fieldViolations() {
    return fieldViolations == null ? List.of() : fieldViolations;
  }

  /**
   * How long the broker asks to wait before a retry.
   *
   * @return empty if it does not say
   */
  public Optional<Duration> retryDelay() {
    return Optional.ofNullable(retryDelay);
  }

  static FieldViolation toViolation(BadRequest.FieldViolation violation) {
    return new FieldViolation(violation.getField(), violation.getDescription());
  }
}
