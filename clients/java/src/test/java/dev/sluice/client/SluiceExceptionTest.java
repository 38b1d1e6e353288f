package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.sluice.v1.ErrorReason;
import dev.sluice.v1.PublishError;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.Test;

class SluiceExceptionTest {
  @Test
  void readsTheDetailsOfAStatus() {
    com.google.rpc.Status status =
        com.google.rpc.Status.newBuilder()
            .setCode(Status.Code.RESOURCE_EXHAUSTED.value())
            .setMessage("the backlog is full")
            .addDetails(
                Any.pack(
                    ErrorInfo.newBuilder()
                        .setReason("BACKLOG_FULL")
                        .putMetadata("topic", "orders")
                        .build()))
            .addDetails(
                Any.pack(
                    RetryInfo.newBuilder()
                        .setRetryDelay(Duration.newBuilder().setSeconds(1).setNanos(500_000_000))
                        .build()))
            .addDetails(
                Any.pack(
                    BadRequest.newBuilder()
                        .addFieldViolations(
                            BadRequest.FieldViolation.newBuilder()
                                .setField("topic")
                                .setDescription("is full"))
                        .build()))
            .build();
    SluiceException error =
        SluiceException.from(new CompletionException(StatusProto.toStatusRuntimeException(status)));
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, error.code());
    assertEquals("BACKLOG_FULL", error.reason());
    assertEquals(ErrorReason.ERROR_REASON_BACKLOG_FULL, error.errorReason());
    assertEquals("the backlog is full", error.getMessage());
    assertEquals(Map.of("topic", "orders"), error.metadata());
    assertEquals(List.of(new FieldViolation("topic", "is full")), error.fieldViolations());
    assertEquals(Optional.of(java.time.Duration.ofMillis(1500)), error.retryDelay());
    assertSame(error, SluiceException.from(new RuntimeException(error)));
  }

  @Test
  void namesTheCodeWhereTheBrokerGaveNoReason() {
    SluiceException error =
        SluiceException.from(Status.UNAVAILABLE.asRuntimeException(new Metadata()));
    assertEquals("UNAVAILABLE", error.reason());
    assertEquals(ErrorReason.ERROR_REASON_UNSPECIFIED, error.errorReason());
    assertTrue(error.metadata().isEmpty());
    assertEquals(Optional.empty(), error.retryDelay());
  }

  @Test
  void keepsTheStatusWhereDetailsAreDamaged() {
    com.google.rpc.Status status =
        com.google.rpc.Status.newBuilder()
            .setCode(Status.Code.NOT_FOUND.value())
            .addDetails(
                Any.newBuilder()
                    .setTypeUrl("type.googleapis.com/google.rpc.ErrorInfo")
                    .setValue(com.google.protobuf.ByteString.copyFromUtf8("\u0007 no proto")))
            .build();
    SluiceException error = SluiceException.from(StatusProto.toStatusRuntimeException(status));
    assertEquals(Status.Code.NOT_FOUND, error.code());
    assertEquals("NOT_FOUND", error.reason());
  }

  @Test
  void readsTheRefusalOfABatch() {
    PublishError refusal =
        PublishError.newBuilder()
            .setCode(Status.Code.INVALID_ARGUMENT.value())
            .setMessage("too large")
            .setReason("MESSAGE_TOO_LARGE")
            .setRetryDelay(Duration.newBuilder().setSeconds(2))
            .build();
    SluiceException error = SluiceException.from(refusal);
    assertEquals(Status.Code.INVALID_ARGUMENT, error.code());
    assertEquals(ErrorReason.ERROR_REASON_MESSAGE_TOO_LARGE, error.errorReason());
    assertEquals("too large", error.getMessage());
    assertEquals(Optional.of(java.time.Duration.ofSeconds(2)), error.retryDelay());
  }

  @Test
  void takesWhatIsNoStatusForUnknown() {
    SluiceException error = SluiceException.from(new IllegalStateException("what is this?"));
    assertEquals(Status.Code.UNKNOWN, error.code());
    assertTrue(error.getMessage().contains("what is this?"));
  }

  @Test
  void decidesWhatIsWorthAnotherTry() {
    for (Status.Code code : Status.Code.values()) {
      SluiceException error = new SluiceException(code, code.name(), "");
      boolean isRetried =
          List.of("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED").contains(code.name());
      assertEquals(isRetried, Failure.isRetriable(error), code.name());
    }
    assertTrue(
        Failure.endsProducer(
            new SluiceException(Status.Code.FAILED_PRECONDITION, "PRODUCER_FENCED", "")));
    assertEquals(
        false,
        Failure.endsConsumer(new SluiceException(Status.Code.NOT_FOUND, "SESSION_NOT_FOUND", "")));
    assertEquals(
        true,
        Failure.endsConsumer(
            new SluiceException(Status.Code.NOT_FOUND, "SUBSCRIPTION_NOT_FOUND", "")));
  }
}
