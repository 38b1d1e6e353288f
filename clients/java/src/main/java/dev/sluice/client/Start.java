package dev.sluice.client;

import dev.sluice.v1.StartPosition;
import java.time.Instant;

/** Where a subscription begins, or is moved to. */
public final class Start {
  private Start() {}

  /**
   * At the oldest message that is kept.
   *
   * @return a position
   */
  public static StartPosition earliest() {
    return StartPosition.newBuilder().setBoundary(StartPosition.Boundary.BOUNDARY_EARLIEST).build();
  }

  /**
   * Behind the newest message.
   *
   * @return a position
   */
  public static StartPosition latest() {
    return StartPosition.newBuilder().setBoundary(StartPosition.Boundary.BOUNDARY_LATEST).build();
  }

  /**
   * At an offset.
   *
   * @param offset from 0
   * @return a position
   */
  public static StartPosition offset(long offset) {
    return StartPosition.newBuilder().setOffset(offset).build();
  }

  /**
   * At the first message that the broker accepted at or after a time.
   *
   * @param time by the broker's clock
   * @return a position
   */
  public static StartPosition time(Instant time) {
    return StartPosition.newBuilder().setTime(MessageWriter.toTimestamp(time)).build();
  }
}
