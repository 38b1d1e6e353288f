package dev.sluice.client;

import dev.sluice.v1.AcknowledgeResponse;
import dev.sluice.v1.ConsumeRequest;
import dev.sluice.v1.OffsetRange;
import dev.sluice.v1.Settlement;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;

/**
 * What one session settles: gathers acknowledgements into ranges, numbers requests, and knows who
 * waits for which answer. Guarded by the lock of the consumer.
 */
final class Settlements {
  /**
   * The broker stops reading a stream on which much more wait for their answer; acknowledgements
   * are gathered meanwhile.
   */
  private static final int MAX_UNANSWERED = 64;

  /** Half of what the broker takes in one request. */
  private static final int MAX_RANGES = 5_000;

  private final Consumer<ConsumeRequest> send;
  private OffsetSet acks = new OffsetSet();
  private int ackCount;
  private List<Waiter> ackWaiters = new ArrayList<>();
  private boolean isFlushDue;

  /** Sent and not answered, by id. */
  private final Map<Long, Request> unanswered = new HashMap<>();

  private final ArrayDeque<Request> unsent = new ArrayDeque<>();
  private long lastId;

  /**
   * The highest MessageRun.delivery_id that was read: what the broker delivered later, no
   * settlement here can mean.
   */
  private long lastDeliveryId;

  /** Who waits to hear whether a message was settled. */
  record Waiter(int partition, long offset, CompletableFuture<Boolean> result) {}

  /** `paused` is the lane that goes on with the answer; null for none. */
  record Request(long id, ConsumeRequest message, List<Waiter> waiters, Lane paused) {
    /** Tells who waits; not under a lock. */
    void answer(AcknowledgeResponse result) {
      Map<Integer, TreeMap<Long, Long>> stale = new HashMap<>();
      for (OffsetRange range : result.getStaleList()) {
        stale
            .computeIfAbsent(range.getPartition(), partition -> new TreeMap<>())
            .put(range.getFirstOffset(), range.getLastOffset());
      }
      for (Waiter waiter : waiters) {
        TreeMap<Long, Long> ranges = stale.get(waiter.partition);
        Map.Entry<Long, Long> range = ranges == null ? null : ranges.floorEntry(waiter.offset);
        waiter.result.complete(range == null || range.getValue() < waiter.offset);
      }
    }

    /** No answer will come. Not to be called under a lock. */
    void abandon() {
      for (Waiter waiter : waiters) waiter.result.complete(false);
    }
  }

  Settlements(Consumer<ConsumeRequest> send) {
    this.send = send;
  }

  /** `result` is null if no caller waits for it. */
  void ack(Delivery delivery, CompletableFuture<Boolean> result) {
    acks.add(delivery.partition(), delivery.offset());
    ackCount++;
    if (result != null) ackWaiters.add(new Waiter(delivery.partition(), delivery.offset(), result));
    if (acks.pieceCount() >= MAX_RANGES) closeAcks();
  }

  /** Acknowledgements that were not sent yet. */
  int ackCount() {
    return ackCount;
  }

  /** Sends what was gathered, as soon as the broker has answered enough. */
  void flush() {
    isFlushDue = true;
    pump();
  }

  /**
   * Settles otherwise than by acknowledging, behind all that was acknowledged before: such requests
   * take a faster path alone.
   */
  void submit(List<Settlement> settlements, List<Waiter> waiters, Lane paused) {
    closeAcks();
    enqueue(settlements, waiters, paused);
    pump();
  }

  /** Extends leases, in requests that the broker takes. */
  void extend(OffsetSet held, Duration by) {
    UnaryOperator<Settlement.Builder> extend = SettlementOf.extend(by);
    List<Settlement> settlements = new ArrayList<>();
    held.forEachRange(
        range -> settlements.add(extend.apply(Settlement.newBuilder().setOffsets(range)).build()));
    for (int from = 0; from < settlements.size(); from += MAX_RANGES) {
      submit(
          settlements.subList(from, Math.min(settlements.size(), from + MAX_RANGES)),
          List.of(),
          null);
    }
  }

  /** Nothing waits for an answer or to be sent. */
  boolean isIdle() {
    return unanswered.isEmpty() && unsent.isEmpty() && ackCount == 0;
  }

  /** A run was read. */
  void read(long deliveryId) {
    lastDeliveryId = Math.max(lastDeliveryId, deliveryId);
  }

  /**
   * Takes out what waits to be sent for messages that were taken back: a late settlement must not
   * settle the redelivery. Returns requests that are over: those who wait are to be told that
   * nothing was settled.
   */
  List<Request> drop(int partition, long first, long last) {
    List<Request> over = new ArrayList<>();
    ackCount -= (int) acks.remove(partition, first, last);
    over.add(new Request(0, null, takeWaiters(ackWaiters, partition, first, last), null));
    List<Request> kept = new ArrayList<>();
    for (Request request : unsent) {
      ConsumeRequest.Builder message = request.message.toBuilder().clearSettlements();
      for (Settlement settlement : request.message.getSettlementsList())
        addWithout(message, settlement, partition, first, last);
      List<Waiter> waiters = new ArrayList<>(request.waiters);
      over.add(new Request(0, null, takeWaiters(waiters, partition, first, last), null));
      if (message.getSettlementsCount() == 0)
        over.add(new Request(0, null, List.of(), request.paused));
      else kept.add(new Request(request.id, message.build(), waiters, request.paused));
    }
    unsent.clear();
    unsent.addAll(kept);
    return over;
  }

  private static List<Waiter> takeWaiters(List<Waiter> from, int partition, long first, long last) {
    List<Waiter> taken = new ArrayList<>();
    from.removeIf(
        waiter -> {
          boolean isMeant =
              waiter.partition == partition && waiter.offset >= first && waiter.offset <= last;
          return isMeant && taken.add(waiter);
        });
    return taken;
  }

  private static void addWithout(
      ConsumeRequest.Builder message, Settlement settlement, int partition, long first, long last) {
    OffsetRange offsets = settlement.getOffsets();
    if (offsets.getPartition() != partition
        || offsets.getLastOffset() < first
        || offsets.getFirstOffset() > last) {
      message.addSettlements(settlement);
      return;
    }
    if (offsets.getFirstOffset() < first) {
      message.addSettlements(
          settlement.toBuilder().setOffsets(offsets.toBuilder().setLastOffset(first - 1)));
    }
    if (offsets.getLastOffset() > last) {
      message.addSettlements(
          settlement.toBuilder().setOffsets(offsets.toBuilder().setFirstOffset(last + 1)));
    }
  }

  /** An answer has come; null for one to no request. */
  Request settled(long id) {
    Request request = unanswered.remove(id);
    pump();
    return request;
  }

  /** The session has ended: returns the requests that will not be answered. */
  List<Request> abandon() {
    closeAcks();
    List<Request> all = new ArrayList<>(unanswered.values());
    all.addAll(unsent);
    unanswered.clear();
    unsent.clear();
    return all;
  }

  private void pump() {
    if (isFlushDue && unsent.isEmpty() && unanswered.size() < MAX_UNANSWERED) closeAcks();
    while (!unsent.isEmpty() && unanswered.size() < MAX_UNANSWERED) {
      Request next = unsent.poll();
      unanswered.put(next.id, next);
      send.accept(next.message);
    }
  }

  private void closeAcks() {
    isFlushDue = false;
    if (ackCount == 0) return;
    List<Settlement> settlements = new ArrayList<>();
    acks.forEachRange(
        range ->
            settlements.add(SettlementOf.ack(Settlement.newBuilder().setOffsets(range)).build()));
    enqueue(settlements, ackWaiters, null);
    acks = new OffsetSet();
    ackCount = 0;
    ackWaiters = new ArrayList<>();
  }

  private void enqueue(List<Settlement> settlements, List<Waiter> waiters, Lane paused) {
    long id = ++lastId;
    ConsumeRequest message =
        ConsumeRequest.newBuilder()
            .addAllSettlements(settlements)
            .setSettlementId(id)
            .setLastDeliveryId(lastDeliveryId)
            .build();
    unsent.add(new Request(id, message, waiters, paused));
  }
}
