package dev.sluice.client;

import dev.sluice.v1.ConsumeResponse;
import dev.sluice.v1.OffsetRange;
import dev.sluice.v1.Ordering;
import dev.sluice.v1.Settlement;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * The messages of a consumer, from their delivery until they are settled: gives them to handlers or
 * to the caller that iterates, and sends their settlements.
 */
final class Inbox extends Sessions {
  /** Takes deliveries by `next` until there are none. */
  private final Runnable worker;

  // Guarded by the lock.
  private final HeldMessages held;
  private final Credit credit;
  private final Settler settler;
  private final Workers workers;

  /** The callers that wait for a message. */
  private int waitingCount;

  /** `concurrency` is the number of parallel handlers; 0 for a consumer that is iterated. */
  Inbox(Client client, ConsumerBuilder settings, int concurrency, Runnable worker) {
    super(client, settings);
    this.worker = worker;
    this.workers = new Workers(concurrency);
    this.held = new HeldMessages(client, concurrency > 0);
    this.credit = new Credit(settings.maxOutstandingMessages, settings.concurrency);
    this.settler = new Settler(settings, held, credit, this::after);
  }

  /** An inbox whose messages are taken by {@link #receive}. */
  static Inbox iterated(Client client, ConsumerBuilder settings) {
    return new Inbox(client, settings, 0, () -> {});
  }

  // --- Sessions ---

  @Override
  Session newSession() {
    return new Session(client, this, settings, credit.granted());
  }

  @Override
  void begin(Session opened, Ordering ordering) {
    held.order(ordering);
    tickLater(opened);
    if (settings.extendLeases) extendLater(opened);
  }

  @Override
  void take(Session from, ConsumeFrame frame) {
    for (OffsetRange range : frame.rest().getRevokedList()) revoke(from, range);
    for (Run run : frame.runs()) from.settlements.read(run.deliveryId);
    if (frame.rest().hasSettled()) settled(from, frame.rest().getSettled());
    if (isClosing || frame.runs().isEmpty()) return;
    backoff.succeeded();
    for (Run run : frame.runs()) held.add(from, run);
    mayBegin();
  }

  private void settled(Session from, ConsumeResponse.Settled settled) {
    Settlements.Request request = from.settlements.settled(settled.getSettlementId());
    if (request == null) return;
    backoff.succeeded();
    if (request.paused() != null) {
      held.resume(List.of(request));
      mayBegin();
    }
    if (isClosing) changed.signalAll();
    if (!request.waiters().isEmpty()) client.execute(() -> request.answer(settled.getResult()));
  }

  private void revoke(Session from, OffsetRange range) {
    from.lostMessages();
    held.revoke(from, range);
    int partition = range.getPartition();
    abandon(from.settlements.drop(partition, range.getFirstOffset(), range.getLastOffset()));
  }

  private void abandon(List<Settlements.Request> requests) {
    held.resume(requests);
    client.execute(() -> requests.forEach(Settlements.Request::abandon));
  }

  @Override
  void dropQueued() {
    held.revokeQueued();
  }

  @Override
  void dropInHand() {
    held.revokeInHand();
  }

  @Override
  void abandonSettlements(Session ended) {
    abandon(ended.settlements.abandon());
  }

  @Override
  int runningCount() {
    return workers.runningCount();
  }

  // --- Iterating ---

  /** Waits for a message. Returns null if none has come in time, or the consumer is closed. */
  @Nullable Delivery receive(long waitNanos) throws InterruptedException {
    lock.lockInterruptibly();
    try {
      long leftNanos = waitNanos;
      for (; ; ) {
        Delivery delivery = begin();
        if (delivery != null) return delivery;
        if (error != null) throw error;
        if (isClosing || leftNanos <= 0) return null;
        waitingCount++;
        try {
          feed();
          leftNanos = changed.awaitNanos(leftNanos);
        } finally {
          waitingCount--;
        }
      }
    } finally {
      lock.unlock();
    }
  }

  private @Nullable Delivery begin() {
    return isClosing ? null : held.begin();
  }

  /**
   * Raises the credit for a caller that has received all of it, and settles nothing before it has
   * more.
   */
  private void feed() {
    Session current = session;
    if (current == null || !isOpen(current) || isClosing) return;
    boolean mustFeed = waitingCount > 0 && held.queuedCount() == 0;
    if (mustFeed && credit.starves(held.inHandCount())) current.grant(credit.granted());
  }

  // --- Handlers ---

  /** Lanes may begin a delivery: starts workers, or wakes the callers that wait. */
  private void mayBegin() {
    while (workers.mayStart(isClosing ? 0 : held.readyCount())) client.execute(worker);
    if (waitingCount > 0) changed.signalAll();
  }

  /**
   * The next delivery for a worker, after it has handled the one before (`handled`, which may be
   * null). Null if there is none: then the worker ends.
   */
  @Nullable Delivery next(@Nullable Delivery handled, @Nullable Throwable thrown) {
    lock.lock();
    try {
      if (handled != null) {
        workers.handlerReturned();
        handled(handled, thrown);
      }
      Delivery delivery = begin();
      if (delivery == null) {
        workers.workerEnds();
      } else {
        workers.handlerBegins();
        // Other lanes may begin a delivery, too.
        mayBegin();
      }
      return delivery;
    } finally {
      lock.unlock();
    }
  }

  /** A handler has returned, and continues without its worker. */
  void detach() {
    lock.lock();
    try {
      workers.detach();
    } finally {
      lock.unlock();
    }
  }

  /** A detached handler has completed. */
  void detachedCompleted(Delivery delivery, @Nullable Throwable thrown) {
    lock.lock();
    try {
      workers.detachedCompleted();
      handled(delivery, thrown);
      mayBegin();
    } finally {
      lock.unlock();
    }
  }

  /** Whether a worker whose handler was detached may take another delivery. Otherwise it ends. */
  boolean mayContinue() {
    lock.lock();
    try {
      return workers.mayContinue();
    } finally {
      lock.unlock();
    }
  }

  private void handled(Delivery delivery, @Nullable Throwable thrown) {
    if (delivery.state == Delivery.State.IN_HAND) {
      if (thrown == null) settler.ack(delivery, null);
      else settler.settle(delivery, SettlementOf.nack(thrown), true, new CompletableFuture<>());
    }
    held.finished(delivery);
    if (isClosing) changed.signalAll();
  }

  // --- Settling ---

  CompletableFuture<Boolean> ack(Delivery delivery) {
    return ifInHand(delivery, result -> settler.ack(delivery, result));
  }

  CompletableFuture<Boolean> settle(
      Delivery delivery, UnaryOperator<Settlement.Builder> outcome, boolean isNack) {
    return ifInHand(delivery, result -> settler.settle(delivery, outcome, isNack, result));
  }

  CompletableFuture<Boolean> extend(Delivery delivery, UnaryOperator<Settlement.Builder> outcome) {
    return ifInHand(delivery, result -> settler.extend(delivery, outcome, result));
  }

  /**
   * Runs the action, which completes the result. The result is false if the delivery is not in
   * hand.
   */
  private CompletableFuture<Boolean> ifInHand(
      Delivery delivery, Consumer<CompletableFuture<Boolean>> action) {
    CompletableFuture<Boolean> result = new CompletableFuture<>();
    lock.lock();
    try {
      if (delivery.state != Delivery.State.IN_HAND) result.complete(false);
      else action.accept(result);
    } finally {
      lock.unlock();
    }
    return result;
  }

  boolean isRevoked(Delivery delivery) {
    lock.lock();
    try {
      return delivery.state == Delivery.State.REVOKED;
    } finally {
      lock.unlock();
    }
  }

  void whenRevoked(Delivery delivery, Runnable task) {
    lock.lock();
    try {
      delivery.onRevoked = task;
      if (delivery.state == Delivery.State.REVOKED) client.execute(task);
    } finally {
      lock.unlock();
    }
  }

  // --- Timers ---

  private void tickLater(Session of) {
    after(
        Credit.TICK_MS,
        () -> {
          if (of != session || isClosing) return;
          credit.tick(held.count() > 0);
          feed();
          of.grant(credit.granted());
          if (waitingCount > 0 || workers.hasFreeHandler()) of.grantAgain();
          tickLater(of);
        });
  }

  private void extendLater(Session of) {
    after(
        Math.max(1, of.ackDeadlineMs / 3),
        () -> {
          if (of != session) return;
          OffsetSet offsets = held.offsets();
          if (offsets.pieceCount() > 0) {
            of.settlements.extend(offsets, Duration.ofMillis(of.ackDeadlineMs));
          }
          extendLater(of);
        });
  }
}
