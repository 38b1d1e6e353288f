package dev.sluice.client;

import io.grpc.CallCredentials;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.function.Supplier;

/**
 * Sends metadata with every call. The source runs on the executor, because it may block while it
 * fetches a token.
 */
final class CallMetadata extends CallCredentials implements ClientInterceptor {
  private final Supplier<Map<String, String>> source;
  private final Executor executor;

  CallMetadata(Supplier<Map<String, String>> source, Executor executor) {
    this.source = source;
    this.executor = executor;
  }

  @Override
  public <I, O> ClientCall<I, O> interceptCall(
      MethodDescriptor<I, O> method, CallOptions options, Channel next) {
    return next.newCall(method, options.withCallCredentials(this));
  }

  @Override
  public void applyRequestMetadata(
      RequestInfo request, Executor callExecutor, MetadataApplier applier) {
    executor.execute(
        () -> {
          Metadata headers = new Metadata();
          try {
            source
                .get()
                .forEach(
                    (name, value) ->
                        headers.put(
                            Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), value));
          } catch (Throwable failed) {
            applier.fail(toStatus(failed));
            return;
          }
          applier.apply(headers);
        });
  }

  /** UNAVAILABLE, which is retried, unless the source threw an error with another code. */
  private static Status toStatus(Throwable failed) {
    ErrorDetails details = ErrorDetails.of(failed);
    if (details != null) return details.status();
    if (failed instanceof SluiceException e)
      return e.code().toStatus().withDescription(e.getMessage()).withCause(e);
    return Status.UNAVAILABLE
        .withDescription("no metadata for the call: " + failed)
        .withCause(failed);
  }
}
