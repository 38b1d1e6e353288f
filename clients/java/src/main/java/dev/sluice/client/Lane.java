package dev.sluice.client;

import com.google.protobuf.ByteString;
import java.util.ArrayDeque;

/**
 * What has to be handled one after the other: messages of a partition, or of a key. Or what needs
 * no order at all.
 */
final class Lane {
  final int partition;

  /** Null for a lane of all the partition, or of no order. */
  final ByteString key;

  final boolean isOrdered;
  final ArrayDeque<Delivery> queue;

  /** A handler is at work on it, perhaps for a session that is over. */
  boolean isBusy;

  /** Nacks that the broker has not answered: what is behind them may be about to be taken back. */
  int pauseCount;

  /** In the list of lanes that have something to be begun. */
  boolean isListed;

  Lane(int partition, ByteString key, boolean isOrdered) {
    this.partition = partition;
    this.key = key;
    this.isOrdered = isOrdered;
    this.queue = new ArrayDeque<>(key == null ? 64 : 2);
  }

  boolean mayBegin() {
    return !queue.isEmpty() && !isBusy && pauseCount == 0;
  }
}
