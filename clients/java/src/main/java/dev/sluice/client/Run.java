package dev.sluice.client;

import java.time.Instant;
import java.util.Arrays;

/** Messages of one partition at consecutive offsets, encoded in the received bytes. */
final class Run {
  final byte[] frame;
  int partition;
  long firstOffset;
  Instant publishTime = Instant.EPOCH;
  String producerId = "";
  int attempt;
  long deliveryId;

  /** Begin and end of each message in the frame. */
  private int[] bounds = new int[64];

  private int count;

  Run(byte[] frame) {
    this.frame = frame;
  }

  void add(int begin, int end) {
    if (2 * count == bounds.length) bounds = Arrays.copyOf(bounds, 2 * bounds.length);
    bounds[2 * count] = begin;
    bounds[2 * count + 1] = end;
    count++;
  }

  int count() {
    return count;
  }

  int beginOf(int index) {
    return bounds[2 * index];
  }

  int endOf(int index) {
    return bounds[2 * index + 1];
  }
}
