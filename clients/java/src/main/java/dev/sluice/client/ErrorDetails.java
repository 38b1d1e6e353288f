package dev.sluice.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A status with the standard error details that the broker sends. */
record ErrorDetails(
    Status status,
    String reason,
    Map<String, String> metadata,
    List<FieldViolation> fieldViolations,
    @Nullable Duration retryDelay) {
  static final ErrorDetails NONE = new ErrorDetails(Status.UNKNOWN, "", Map.of(), List.of(), null);

  /** The details of a status exception. Null for any other exception. */
  static @Nullable ErrorDetails of(Throwable thrown) {
    if (thrown instanceof StatusRuntimeException e) return of(e.getStatus(), e.getTrailers());
    if (thrown instanceof StatusException e) return of(e.getStatus(), e.getTrailers());
    return null;
  }

  /** The details of a status. Details that cannot be parsed are left out. */
  static ErrorDetails of(Status status, @Nullable Metadata trailers) {
    ErrorDetails bare = new ErrorDetails(status, "", Map.of(), List.of(), null);
    com.google.rpc.Status rich =
        trailers == null ? null : StatusProto.fromStatusAndTrailers(status, trailers);
    if (rich == null) return bare;
    try {
      String reason = "";
      Map<String, String> metadata = Map.of();
      List<FieldViolation> violations = List.of();
      @Nullable Duration delay = null;
      for (Any detail : rich.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          ErrorInfo info = detail.unpack(ErrorInfo.class);
          reason = info.getReason();
          metadata = Map.copyOf(info.getMetadataMap());
        } else if (detail.is(RetryInfo.class)) {
          RetryInfo info = detail.unpack(RetryInfo.class);
          if (info.hasRetryDelay()) delay = toDuration(info.getRetryDelay());
        } else if (detail.is(BadRequest.class)) {
          BadRequest request = detail.unpack(BadRequest.class);
          violations =
              request.getFieldViolationsList().stream().map(SluiceException::toViolation).toList();
        }
      }
      return new ErrorDetails(status, reason, metadata, violations, delay);
    } catch (InvalidProtocolBufferException damaged) {
      return bare;
    }
  }

  static Duration toDuration(com.google.protobuf.Duration duration) {
    return Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
  }
}
