package dev.sluice.client;

import java.time.Instant;
import org.jspecify.annotations.Nullable;

/**
 * The state of the connection of a client. Open producers and consumers retry in every state except
 * closed.
 *
 * @param status the state
 * @param cause why the client waits, for example {@code nothing listens at localhost:7070}; empty
 *     in every other state
 * @param error the error of the last attempt; null if there is none
 * @param nextAttempt the time of the next attempt; null if the client does not wait
 */
public record ConnectionState(
    Status status, String cause, @Nullable Throwable error, @Nullable Instant nextAttempt) {
  /** The states of a connection. */
  public enum Status {
    /** The client makes a connection. */
    CONNECTING,
    /** The broker answers. */
    READY,
    /** The last attempt failed, or the connection was lost. */
    WAITING,
    /** The client is closed. */
    CLOSED
  }

  static ConnectionState of(Status status) {
    return new ConnectionState(status, "", null, null);
  }
}
