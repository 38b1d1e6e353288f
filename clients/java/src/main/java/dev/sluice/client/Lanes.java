package dev.sluice.client;

import com.google.protobuf.ByteString;
import dev.sluice.v1.Ordering;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The messages that wait for a handler, in lanes. A lane stays across sessions while a handler has
 * one of its messages. Guarded by the lock of the inbox.
 */
final class Lanes {
  /** A handler keeps its lane busy. A caller that iterates does not: it settles in any order. */
  private final boolean isExclusive;

  private Ordering ordering = Ordering.ORDERING_PARTITION;
  private final Lane free = new Lane(-1, null, false);
  private @Nullable Lane[] byPartition = new @Nullable Lane[8];
  private final Map<KeyOfPartition, Lane> byKey = new HashMap<>();

  /** The lanes that may begin a delivery, in turn. */
  private final ArrayDeque<Lane> ready = new ArrayDeque<>();

  private int queuedCount;

  private record KeyOfPartition(int partition, ByteString key) {}

  Lanes(boolean isExclusive) {
    this.isExclusive = isExclusive;
  }

  void order(Ordering ordering) {
    this.ordering = ordering;
  }

  int queuedCount() {
    return queuedCount;
  }

  int readyCount() {
    return ready.size();
  }

  void add(Delivery delivery) {
    Lane lane = laneOf(delivery);
    delivery.lane = lane;
    lane.queue.add(delivery);
    queuedCount++;
    list(lane);
  }

  /** Takes the next delivery. Null if no lane may begin one. */
  @Nullable Delivery take() {
    for (Lane lane = ready.poll(); lane != null; lane = ready.poll()) {
      lane.isListed = false;
      if (!lane.mayBegin()) continue;
      Delivery delivery = lane.queue.remove();
      queuedCount--;
      if (lane.isOrdered && isExclusive) {
        lane.isBusy = true;
      } else {
        list(lane);
        forgetIfDone(lane);
      }
      return delivery;
    }
    return null;
  }

  /** The handler of the delivery has ended. */
  void finished(Delivery delivery) {
    Lane lane = Objects.requireNonNull(delivery.lane);
    lane.isBusy = false;
    list(lane);
    forgetIfDone(lane);
  }

  /** Stops the lane of the delivery until it is resumed. */
  Lane pause(Delivery delivery) {
    // The lane of a delivery may have been removed if a caller iterates.
    Lane lane = laneOf(delivery);
    if (lane.isOrdered) lane.pauseCount++;
    return lane;
  }

  void resume(Lane lane) {
    if (!lane.isOrdered) return;
    lane.pauseCount--;
    list(lane);
    forgetIfDone(lane);
  }

  /** Removes the messages of a range, and calls `dropped` with each of them. */
  void drop(int partition, long first, long last, Consumer<Delivery> dropped) {
    dropFrom(free, partition, first, last, dropped);
    if (partition < byPartition.length && byPartition[partition] != null) {
      dropFrom(byPartition[partition], partition, first, last, dropped);
    }
    for (Iterator<Lane> lanes = byKey.values().iterator(); lanes.hasNext(); ) {
      Lane lane = lanes.next();
      if (lane.partition != partition) continue;
      dropFrom(lane, partition, first, last, dropped);
      if (isDone(lane)) lanes.remove();
    }
  }

  /**
   * Removes all messages, because their session has ended, and calls `dropped` with each of them.
   */
  void clear(Consumer<Delivery> dropped) {
    forEachQueued(dropped);
    free.queue.clear();
    for (Lane lane : byPartition) if (lane != null) lane.queue.clear();
    for (Lane lane : byKey.values()) lane.queue.clear();
    byKey.values().removeIf(this::isDone);
    ready.forEach(lane -> lane.isListed = false);
    ready.clear();
    queuedCount = 0;
  }

  void forEachQueued(Consumer<Delivery> action) {
    free.queue.forEach(action);
    for (Lane lane : byPartition) if (lane != null) lane.queue.forEach(action);
    for (Lane lane : byKey.values()) lane.queue.forEach(action);
  }

  private void dropFrom(
      Lane lane, int partition, long first, long last, Consumer<Delivery> dropped) {
    lane.queue.removeIf(
        delivery -> {
          if (delivery.partition() != partition
              || delivery.offset() < first
              || delivery.offset() > last) return false;
          dropped.accept(delivery);
          queuedCount--;
          return true;
        });
  }

  private Lane laneOf(Delivery delivery) {
    int partition = delivery.partition();
    if (ordering == Ordering.ORDERING_NONE) return free;
    if (ordering == Ordering.ORDERING_KEY) {
      ByteString key = delivery.key();
      if (key.isEmpty()) return free;
      KeyOfPartition of = new KeyOfPartition(partition, key);
      Lane lane = byKey.get(of);
      if (lane != null) return lane;
      lane = new Lane(partition, key, true);
      byKey.put(of, lane);
      return lane;
    }
    if (partition >= byPartition.length)
      byPartition = Arrays.copyOf(byPartition, Math.max(partition + 1, 2 * byPartition.length));
    Lane lane = byPartition[partition];
    if (lane == null) {
      lane = new Lane(partition, null, true);
      byPartition[partition] = lane;
    }
    return lane;
  }

  private void list(Lane lane) {
    if (lane.isListed || !lane.mayBegin()) return;
    lane.isListed = true;
    ready.add(lane);
  }

  private boolean isDone(Lane lane) {
    return lane.queue.isEmpty() && !lane.isBusy && lane.pauseCount == 0;
  }

  /** Removes a lane of a key that has no message: there can be as many keys as messages. */
  private void forgetIfDone(Lane lane) {
    if (lane.key != null && isDone(lane))
      byKey.remove(new KeyOfPartition(lane.partition, lane.key));
  }
}
