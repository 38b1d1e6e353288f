package dev.sluice.client;

import dev.sluice.client.ConnectionState.Status;
import dev.sluice.v1.AdminGrpc;
import dev.sluice.v1.GetServerInfoRequest;
import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Watches the connection of a client, reports its state, and makes the client connect again. */
final class ConnectionWatch {
  private static final System.Logger LOG = System.getLogger("dev.sluice.client");
  private static final long MIN_BACKOFF_MS = 50;
  private static final long MAX_BACKOFF_MS = 1_000;

  /** The deadline of the call that gets the error of a failed connection. */
  private static final long ASK_TIMEOUT_MS = 1_000;

  private final Client client;
  private final ManagedChannel channel;
  private final ConnectionCause causes;
  private final Consumer<ConnectionState> listener;
  private final Backoff backoff = new Backoff(MIN_BACKOFF_MS, MAX_BACKOFF_MS);
  // Guarded by `this`.
  private @Nullable Status last;
  private String lastCause = "";
  private final ArrayDeque<ConnectionState> queue = new ArrayDeque<>();
  private boolean isReporting;

  ConnectionWatch(Client client, ManagedChannel channel, ClientBuilder settings) {
    this.client = client;
    this.channel = channel;
    this.causes = new ConnectionCause(settings.target, settings.tls != null);
    this.listener = settings.onConnectionState;
  }

  void start() {
    follow(channel.getState(false));
  }

  private void follow(ConnectivityState seen) {
    channel.notifyWhenStateChanged(
        seen,
        () -> {
          ConnectivityState now = channel.getState(false);
          changed(now);
          if (now != ConnectivityState.SHUTDOWN) follow(now);
        });
  }

  private void changed(ConnectivityState now) {
    switch (now) {
      case CONNECTING -> report(ConnectionState.of(Status.CONNECTING));
      case READY -> ready();
      case IDLE -> lost();
      case TRANSIENT_FAILURE -> client.execute(this::failed);
      case SHUTDOWN -> close();
    }
  }

  private synchronized void ready() {
    backoff.succeeded();
    report(ConnectionState.of(Status.READY));
  }

  /** Asks for a new connection: otherwise gRPC connects only with the next call. */
  private void lost() {
    synchronized (this) {
      if (last != Status.READY) return;
      report(new ConnectionState(Status.WAITING, causes.lost(), null, Instant.now()));
    }
    channel.getState(true);
  }

  /**
   * Reports the cause, and sets the next attempt: the backoff of gRPC grows to two minutes, and
   * gRPC does not report its attempts. A call that starts now fails at once with the error of the
   * connection.
   */
  private void failed() {
    @Nullable Throwable error = null;
    try {
      AdminGrpc.newBlockingStub(channel)
          .withDeadlineAfter(ASK_TIMEOUT_MS, TimeUnit.MILLISECONDS)
          .getServerInfo(GetServerInfoRequest.getDefaultInstance());
    } catch (StatusRuntimeException thrown) {
      error = thrown;
    }
    if (channel.getState(false) != ConnectivityState.TRANSIENT_FAILURE) return;
    long waitMs;
    synchronized (this) {
      waitMs = backoff.nextMs(null);
      report(
          new ConnectionState(
              Status.WAITING, causes.of(error), error, Instant.now().plusMillis(waitMs)));
    }
    client.after(waitMs, this::tryAgain);
  }

  private void tryAgain() {
    if (channel.getState(false) != ConnectivityState.TRANSIENT_FAILURE) return;
    report(ConnectionState.of(Status.CONNECTING));
    channel.resetConnectBackoff();
    // gRPC reports no change of state if the next attempt fails, too.
    client.after(
        MIN_BACKOFF_MS,
        () -> {
          if (channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE)
            client.execute(this::failed);
        });
  }

  void close() {
    report(ConnectionState.of(Status.CLOSED));
  }

  /**
   * Logs that a producer or a consumer tries again. Does not log it if the connection is the cause,
   * because the state of the connection is reported.
   */
  void retrying(String what, String topic, SluiceException error, long waitMs) {
    synchronized (this) {
      if (last != Status.READY && Failure.isBare(error)) return;
    }
    LOG.log(
        System.Logger.Level.WARNING,
        () ->
            what
                + " of topic "
                + topic
                + " tries again in "
                + waitMs
                + " ms: "
                + error.getMessage());
  }

  private synchronized void report(ConnectionState state) {
    if (last == Status.CLOSED || (last == state.status() && last != Status.WAITING)) return;
    last = state.status();
    queue.add(state);
    if (isReporting) return;
    isReporting = true;
    client.execute(this::reportAll);
  }

  private void reportAll() {
    for (; ; ) {
      ConnectionState state;
      synchronized (this) {
        state = queue.poll();
        if (state == null) {
          isReporting = false;
          return;
        }
      }
      log(state);
      try {
        listener.accept(state);
      } catch (RuntimeException thrown) {
        LOG.log(
            System.Logger.Level.WARNING,
            "the listener of the connection state has thrown an exception",
            thrown);
      }
    }
  }

  /** Logs each cause once, as a warning. */
  private void log(ConnectionState state) {
    boolean isNews = state.status() == Status.WAITING && !state.cause().equals(lastCause);
    lastCause = state.status() == Status.READY ? "" : isNews ? state.cause() : lastCause;
    System.Logger.Level level = isNews ? System.Logger.Level.WARNING : System.Logger.Level.DEBUG;
    LOG.log(
        level,
        () ->
            isNews
                ? "no connection to the broker: " + state.cause()
                : "the connection is " + state.status());
  }
}
