package dev.sluice.client;

import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** Settings of a {@link Client}. Every one has a default. */
public final class ClientBuilder {
  final String target;
  TlsOptions tls;
  final Map<String, String> metadata = new HashMap<>();
  Supplier<String> token;
  Executor executor;
  int windowBytes = 1024 * 1024;
  int maxReceiveBytes = 64 * 1024 * 1024;
  long callTimeoutMs = 30_000;
  Consumer<ConnectionState> onConnectionState = state -> {};

  ClientBuilder(String target) {
    this.target = Objects.requireNonNull(target, "target");
  }

  /**
   * Talks TLS. Default: plaintext.
   *
   * @param options whom to trust
   * @return this
   */
  public ClientBuilder tls(TlsOptions options) {
    this.tls = options;
    return this;
  }

  /**
   * Sends this with every call.
   *
   * @param name in lower case: {@code x-tenant}
   * @param value ASCII
   * @return this
   */
  public ClientBuilder metadata(String name, String value) {
    metadata.put(name, value);
    return this;
  }

  /**
   * Sends {@code authorization: Bearer <token>} with every call.
   *
   * @param value the token
   * @return this
   */
  public ClientBuilder token(String value) {
    return token(() -> value);
  }

  /**
   * Sends {@code authorization: Bearer <token>} with every call, and asks for the token each time.
   * Where the callback throws, the call fails with UNAVAILABLE (and is tried again by producers and
   * consumers), or with the code of the {@code StatusRuntimeException} that it throws.
   *
   * @param source is called on the client's executor; may take its time
   * @return this
   */
  public ClientBuilder token(Supplier<String> source) {
    this.token = source;
    return this;
  }

  /**
   * Runs handlers and completes futures. Default: threads of the client's own, as many as are
   * needed. An executor that is given is not shut down, and must not run tasks in the thread that
   * hands them over.
   *
   * @param executor needs a thread for each handler that runs at once, and one besides
   * @return this
   */
  public ClientBuilder executor(Executor executor) {
    this.executor = executor;
    return this;
  }

  /**
   * HTTP/2 receive window of each stream and of the connection: what the broker may have under way
   * to here. Default 1 MiB.
   *
   * @param bytes at least 65,535
   * @return this
   */
  public ClientBuilder windowBytes(int bytes) {
    this.windowBytes = bytes;
    return this;
  }

  /**
   * Largest response that is taken. Default 64 MiB.
   *
   * @param bytes encoded
   * @return this
   */
  public ClientBuilder maxReceiveBytes(int bytes) {
    this.maxReceiveBytes = bytes;
    return this;
  }

  /**
   * Deadline of the calls that are one question and one answer, those of the {@link Client#admin()
   * admin} stub included. Streams have none. Default 30,000.
   *
   * @param milliseconds above zero
   * @return this
   */
  public ClientBuilder callTimeoutMs(long milliseconds) {
    this.callTimeoutMs = milliseconds;
    return this;
  }

  /**
   * Hears each change of the connection, in order. The first attempt that fails is reported at
   * once. The same is logged by the {@link System.Logger} {@code dev.sluice.client}.
   *
   * @param listener is called on the client's executor, by one thread at a time
   * @return this
   */
  public ClientBuilder onConnectionState(Consumer<ConnectionState> listener) {
    this.onConnectionState = Objects.requireNonNull(listener, "listener");
    return this;
  }

  /**
   * Makes the client. It connects with its first call.
   *
   * @return a client, to be closed by the caller
   */
  public Client build() {
    return new Client(this);
  }
}
