package dev.sluice.client;

import dev.sluice.v1.StartPosition;
import java.time.Instant;

/** Positions at which a subscription begins, or to which it is moved. */
public final class Start {
  private Start() {}

  /**
   * The oldest message that is kept.
   *
   * @return a position
   */
  public static StartPosition earliest() {
    return StartPosition.newBuilder().setBoundary(StartPosition.Boundary.BOUNDARY_EARLIEST).build();
  }

  /**
   * After the newest message.
   *
   * @return a position
   */
  public static StartPosition latest() {
    return StartPosition.newBuilder().setBoundary(StartPosition.Boundary.BOUNDARY_LATEST).build();
  }

  /**
   * An offset of each partition.
   *
   * @param offset from 0
   * @return a position
   */
  public static StartPosition offset(long offset) {
    return StartPosition.newBuilder().setOffset(offset).build();
  }

  /**
   * The first message that the broker accepted at this time or later.
   *
   * @param time by the broker's clock
   * @return a position
   */
  public static StartPosition time(Instant time) {
    return StartPosition.newBuilder().setTime(MessageWriter.toTimestamp(time)).build();
  }
}
