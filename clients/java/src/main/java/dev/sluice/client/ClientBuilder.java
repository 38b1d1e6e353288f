package dev.sluice.client;

import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Settings of a {@link Client}. Each setting has a default. */
public final class ClientBuilder {
  final String target;
  @Nullable TlsOptions tls;
  final Map<String, String> metadata = new HashMap<>();
  @Nullable Supplier<String> token;
  @Nullable Executor executor;
  int windowBytes = 1024 * 1024;
  int maxReceiveBytes = 64 * 1024 * 1024;
  long callTimeoutMs = 30_000;
  Consumer<ConnectionState> onConnectionState = state -> {};

  ClientBuilder(String target) {
    this.target = Objects.requireNonNull(target, "target");
  }

  /**
   * Connects with TLS. Default: plaintext.
   *
   * @param options certificates and names
   * @return this
   */
  public ClientBuilder tls(TlsOptions options) {
    this.tls = options;
    return this;
  }

  /**
   * Sends a header with every call.
   *
   * @param name in lower case, for example {@code x-tenant}
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
   * Sends {@code authorization: Bearer <token>} with every call, with a token from the callback. If
   * the callback throws a {@code StatusRuntimeException}, the call fails with its code. If it
   * throws another exception, the call fails with UNAVAILABLE, and producers and consumers retry
   * it.
   *
   * @param source is called on the executor of the client; it may block
   * @return this
   */
  public ClientBuilder token(Supplier<String> source) {
    this.token = source;
    return this;
  }

  /**
   * The executor that runs handlers and completes futures. Default: a thread pool of the client
   * that grows as needed. The client does not shut down this executor. The executor must not run a
   * task in the thread that submits it.
   *
   * @param executor must have a thread for each parallel handler, and one more
   * @return this
   */
  public ClientBuilder executor(Executor executor) {
    this.executor = executor;
    return this;
  }

  /**
   * The HTTP/2 receive window of each stream and of the connection. Default 1 MiB.
   *
   * @param bytes at least 65,535
   * @return this
   */
  public ClientBuilder windowBytes(int bytes) {
    this.windowBytes = bytes;
    return this;
  }

  /**
   * The maximum size of a response. Default 64 MiB.
   *
   * @param bytes the size of the encoded response
   * @return this
   */
  public ClientBuilder maxReceiveBytes(int bytes) {
    this.maxReceiveBytes = bytes;
    return this;
  }

  /**
   * The deadline of unary calls, also of those of the {@link Client#admin() admin} stub. Streams
   * have no deadline. Default 30,000.
   *
   * @param milliseconds above zero
   * @return this
   */
  public ClientBuilder callTimeoutMs(long milliseconds) {
    this.callTimeoutMs = milliseconds;
    return this;
  }

  /**
   * Reports each change of the state of the connection, in order. The client reports the first
   * failed attempt at once. It also logs the states with the {@link System.Logger} {@code
   * dev.sluice.client}.
   *
   * @param listener is called on the executor of the client, by one thread at a time
   * @return this
   */
  public ClientBuilder onConnectionState(Consumer<ConnectionState> listener) {
    this.onConnectionState = Objects.requireNonNull(listener, "listener");
    return this;
  }

  /**
   * Creates the client. The client connects with its first call.
   *
   * @return a client, which the caller has to close
   */
  public Client build() {
    return new Client(this);
  }
}
