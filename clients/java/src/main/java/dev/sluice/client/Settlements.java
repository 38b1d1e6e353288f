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
import org.jspecify.annotations.Nullable;

/**
 * The settlements of one session: gathers acknowledgements in ranges, numbers the requests, and
 * completes the results of the callers. Guarded by the lock of the inbox.
 */
final class Settlements {
  /**
   * The maximum number of requests without an answer. The broker stops reading a stream with many
   * more. Acknowledgements are gathered meanwhile.
   */
  private static final int MAX_UNANSWERED = 64;

  /** The maximum number of ranges in a request: half of the limit of the broker. */
  private static final int MAX_RANGES = 5_000;

  private final Consumer<ConsumeRequest> send;
  private OffsetSet acks = new OffsetSet();
  private int ackCount;
  private List<Waiter> ackWaiters = new ArrayList<>();
  private boolean isFlushDue;

  /** Requests that were sent and not answered, by id. */
  private final Map<Long, Request> unanswered = new HashMap<>();

  private final ArrayDeque<Request> unsent = new ArrayDeque<>();
  private long lastId;

  /**
   * The highest MessageRun.delivery_id that the client has read. Settlements do not apply to
   * messages that the broker delivered later.
   */
  private long lastDeliveryId;

  /** A caller that waits for the result of a settlement. */
  record Waiter(int partition, long offset, CompletableFuture<Boolean> result) {}

  /** `paused` is the lane that continues after the answer; null for none. */
  record Request(long id, ConsumeRequest message, List<Waiter> waiters, @Nullable Lane paused) {
    /** Completes the results. Call it without a lock. */
    void answer(AcknowledgeResponse result) {
      Map<Integer, TreeMap<Long, Long>> stale = new HashMap<>();
      for (OffsetRange range : result.getStaleList()) {
        stale
            .computeIfAbsent(range.getPartition(), partition -> new TreeMap<>())
            .put(range.getFirstOffset(), range.getLastOffset());
      }
      for (Waiter waiter : waiters) {
        @Nullable TreeMap<Long, Long> ranges = stale.get(waiter.partition);
        Map.@Nullable Entry<Long, Long> range =
            ranges == null ? null : ranges.floorEntry(waiter.offset);
        waiter.result.complete(range == null || range.getValue() < waiter.offset);
      }
    }

    /** Completes the results with false, because no answer will come. Call it without a lock. */
    void abandon() {
      for (Waiter waiter : waiters) waiter.result.complete(false);
    }
  }

  Settlements(Consumer<ConsumeRequest> send) {
    this.send = send;
  }

  /** `result` is null if no caller waits for it. */
  void ack(Delivery delivery, @Nullable CompletableFuture<Boolean> result) {
    acks.add(delivery.partition(), delivery.offset());
    ackCount++;
    if (result != null) ackWaiters.add(new Waiter(delivery.partition(), delivery.offset(), result));
    if (acks.pieceCount() >= MAX_RANGES) closeAcks();
  }

  /** The number of acknowledgements that are not in a request yet. */
  int ackCount() {
    return ackCount;
  }

  /** Sends the gathered acknowledgements, as soon as fewer requests wait for an answer. */
  void flush() {
    isFlushDue = true;
    pump();
  }

  /**
   * Adds a request with other settlements than acknowledgements. The acknowledgements before it go
   * into a request of their own, because the broker handles a request with only acknowledgements
   * faster.
   */
  void submit(List<Settlement> settlements, List<Waiter> waiters, @Nullable Lane paused) {
    closeAcks();
    enqueue(settlements, waiters, paused);
    pump();
  }

  /** Extends leases, in requests within the limits of the broker. */
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

  /** Whether no settlement waits for an answer or to be sent. */
  boolean isIdle() {
    return unanswered.isEmpty() && unsent.isEmpty() && ackCount == 0;
  }

  /** The client has read a run. */
  void read(long deliveryId) {
    lastDeliveryId = Math.max(lastDeliveryId, deliveryId);
  }

  /**
   * Removes the settlements of revoked messages that were not sent: a late settlement must not
   * settle a redelivery. Returns requests without a message, which the caller has to abandon.
   */
  List<Request> drop(int partition, long first, long last) {
    List<Request> over = new ArrayList<>();
    ackCount -= (int) acks.remove(partition, first, last);
    over.add(
        new Request(
            0,
            ConsumeRequest.getDefaultInstance(),
            takeWaiters(ackWaiters, partition, first, last),
            null));
    List<Request> kept = new ArrayList<>();
    for (Request request : unsent) {
      ConsumeRequest.Builder message = request.message.toBuilder().clearSettlements();
      for (Settlement settlement : request.message.getSettlementsList())
        addWithout(message, settlement, partition, first, last);
      List<Waiter> waiters = new ArrayList<>(request.waiters);
      over.add(
          new Request(
              0,
              ConsumeRequest.getDefaultInstance(),
              takeWaiters(waiters, partition, first, last),
              null));
      if (message.getSettlementsCount() == 0)
        over.add(new Request(0, ConsumeRequest.getDefaultInstance(), List.of(), request.paused));
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

  /** The request of an answer. Null if there is none. */
  @Nullable Request settled(long id) {
    Request request = unanswered.remove(id);
    pump();
    return request;
  }

  /** The session has ended. Returns the requests that get no answer. */
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
      Request next = unsent.remove();
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

  private void enqueue(List<Settlement> settlements, List<Waiter> waiters, @Nullable Lane paused) {
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
