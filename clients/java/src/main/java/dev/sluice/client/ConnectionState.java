package dev.sluice.client;

import java.time.Instant;

/**
 * How the connection of a client stands. Producers that are open and consumers go on trying in any
 * state but closed.
 *
 * @param status what it is
 * @param cause why the client waits, in plain words: {@code nothing listens at localhost:7070}.
 *     Empty in any other state
 * @param error what the last attempt failed with; null where there is no more to say
 * @param nextAttempt when the client tries again; null where it does not wait
 */
public record ConnectionState(Status status, String cause, Throwable error, Instant nextAttempt) {
  /** What a connection may be. */
  public enum Status {
    /** A connection is being made. */
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
