package dev.sluice.client;

import com.google.protobuf.ByteString;
import java.util.ArrayDeque;
import org.jspecify.annotations.Nullable;

/**
 * A queue of messages that are handled one after another: the messages of a partition or of a key.
 * One lane has the messages that need no order.
 */
final class Lane {
  final int partition;

  /** Null for the lane of a whole partition, and for the lane without order. */
  final @Nullable ByteString key;

  final boolean isOrdered;
  final ArrayDeque<Delivery> queue;

  /** A handler has a message of the lane, perhaps one of a session that has ended. */
  boolean isBusy;

  /** The nacks that the broker has not answered: it may revoke the messages behind them. */
  int pauseCount;

  /** The lane is in the list of lanes that may begin a delivery. */
  boolean isListed;

  Lane(int partition, @Nullable ByteString key, boolean isOrdered) {
    this.partition = partition;
    this.key = key;
    this.isOrdered = isOrdered;
    this.queue = new ArrayDeque<>(key == null ? 64 : 2);
  }

  boolean mayBegin() {
    return !queue.isEmpty() && !isBusy && pauseCount == 0;
  }
}
