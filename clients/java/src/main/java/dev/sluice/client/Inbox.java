package dev.sluice.client;

import dev.sluice.v1.ConsumeResponse;
import dev.sluice.v1.GetSubscriptionRequest;
import dev.sluice.v1.OffsetRange;
import dev.sluice.v1.Ordering;
import dev.sluice.v1.Settlement;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.IntSupplier;
import java.util.function.UnaryOperator;

/**
 * The messages of a consumer, from their delivery until they are settled. Keeps a session open,
 * queues messages in lanes, gives them to the handler or the iterating caller, and sends their
 * settlements.
 */
final class Inbox implements Client.Endable {
  private static final long ANSWER_TIMEOUT_MS = 10_000;

  private final Client client;
  private final ConsumerBuilder settings;
  private final Backoff backoff;
  final ReentrantLock lock = new ReentrantLock();

  /** Something has ended that `close` may wait for, or something may be begun. */
  final Condition changed = lock.newCondition();

  private final LockedTimer timer;
  private final Lanes lanes;
  private final InHand inHand = new InHand();
  private final Credit credit;

  /** Told, under the lock, that something may be begun. */
  private final Runnable work;

  /** Asked under the lock. */
  private final BooleanSupplier hasFreeHandler;

  /** Null between sessions. */
  private Session session;

  /** Callers that wait for one more. */
  private int waitingCount;

  private boolean isStarted;
  private boolean isClosing;
  private boolean isOver;
  private SluiceException error;

  /** Completes when the consumer is over. */
  final CompletableFuture<Void> over = new CompletableFuture<>();

  Inbox(
      Client client,
      ConsumerBuilder settings,
      boolean isExclusive,
      Runnable work,
      BooleanSupplier hasFreeHandler) {
    this.client = client;
    this.settings = settings;
    this.work = work;
    this.hasFreeHandler = hasFreeHandler;
    this.timer = new LockedTimer(client, lock);
    this.lanes = new Lanes(isExclusive);
    this.credit = new Credit(settings.maxOutstandingMessages, settings.concurrency);
    this.backoff = new Backoff(settings.retryMinBackoffMs, settings.retryMaxBackoffMs);
  }

  // --- Sessions ---

  void start() {
    lock.lock();
    try {
      if (isStarted || isOver) return;
      isStarted = true;
      client.opened(this);
      connect();
    } finally {
      lock.unlock();
    }
  }

  private void connect() {
    session = new Session(client, this, settings, credit.granted());
    session.start();
  }

  void received(Session from, ConsumeFrame frame) {
    lock.lock();
    try {
      if (from != session) return;
      if (frame.rest().hasOpened()) opened(from, frame.rest());
      else if (from.phase == Session.Phase.OPEN) take(from, frame);
      else from.early.add(frame);
    } finally {
      lock.unlock();
    }
  }

  private void opened(Session opened, ConsumeResponse response) {
    opened.ackDeadlineMs =
        Math.max(1, ErrorDetails.toDuration(response.getOpened().getAckDeadline()).toMillis());
    opened.phase = Session.Phase.ASKING_ORDER;
    if (!isClosing) client.execute(() -> askOrder(opened));
  }

  /** Asks again while that may help: to give the stream up would be no good order. */
  private void askOrder(Session opened) {
    GetSubscriptionRequest request =
        GetSubscriptionRequest.newBuilder()
            .setTopic(settings.topic)
            .setName(settings.subscription)
            .build();
    try {
      ordered(opened, client.admin().getSubscription(request).getSubscription().getOrdering());
    } catch (RuntimeException thrown) {
      SluiceException failed = SluiceException.from(thrown);
      if (Failure.endsConsumer(failed)) {
        closed(opened, failed);
        opened.leave();
        return;
      }
      lock.lock();
      try {
        long waitMs = backoff.nextMs(failed.retryDelay().orElse(null));
        if (opened == session && !isClosing)
          client.after(waitMs, () -> client.execute(() -> askOrder(opened)));
      } finally {
        lock.unlock();
      }
    }
  }

  private void ordered(Session opened, Ordering ordering) {
    lock.lock();
    try {
      if (opened != session) return;
      lanes.order(ordering);
      opened.phase = Session.Phase.OPEN;
      for (ConsumeFrame frame : opened.early) take(opened, frame);
      opened.early.clear();
      tickLater(opened);
      if (settings.extendLeases) extendLater(opened);
    } finally {
      lock.unlock();
    }
  }

  private void take(Session from, ConsumeFrame frame) {
    for (OffsetRange range : frame.rest().getRevokedList()) revoke(from, range);
    for (Run run : frame.runs()) from.settlements.read(run.deliveryId);
    if (frame.rest().hasSettled()) settled(from, frame.rest().getSettled());
    if (isClosing || frame.runs().isEmpty()) return;
    backoff.succeeded();
    for (Run run : frame.runs()) {
      for (int i = 0; i < run.count(); i++) lanes.add(new Delivery(from, run, i));
    }
    work.run();
  }

  private void settled(Session from, ConsumeResponse.Settled settled) {
    Settlements.Request request = from.settlements.settled(settled.getSettlementId());
    if (request == null) return;
    backoff.succeeded();
    if (request.paused() != null) {
      lanes.resume(request.paused());
      work.run();
    }
    if (isClosing) changed.signalAll();
    if (!request.waiters().isEmpty()) client.execute(() -> request.answer(settled.getResult()));
  }

  private void revoke(Session from, OffsetRange range) {
    from.lostMessages();
    int partition = range.getPartition();
    long first = range.getFirstOffset();
    long last = range.getLastOffset();
    lanes.drop(partition, first, last, delivery -> delivery.state = Delivery.State.REVOKED);
    inHand.forEach(
        delivery -> {
          boolean isMeant = delivery.session == from && delivery.partition() == partition;
          if (isMeant && delivery.offset() >= first && delivery.offset() <= last) revoke(delivery);
        });
    abandon(from.settlements.drop(partition, first, last));
  }

  private void abandon(List<Settlements.Request> requests) {
    for (Settlements.Request request : requests)
      if (request.paused() != null) lanes.resume(request.paused());
    client.execute(() -> requests.forEach(Settlements.Request::abandon));
  }

  private void revoke(Delivery delivery) {
    inHand.remove(delivery, Delivery.State.REVOKED);
    if (delivery.onRevoked != null) client.execute(delivery.onRevoked);
  }

  void closed(Session closed, SluiceException reason) {
    lock.lock();
    try {
      if (closed != session) return;
      session = null;
      drop(closed);
      if (isClosing) {
        changed.signalAll();
      } else if (Failure.endsConsumer(reason)) {
        end(reason);
      } else {
        long waitMs = backoff.nextMs(reason.retryDelay().orElse(null));
        client.retrying("a consumer", settings.topic, reason, waitMs);
        client.after(waitMs, () -> client.execute(this::reconnect));
      }
    } finally {
      lock.unlock();
    }
  }

  private void reconnect() {
    client.retryConnection();
    lock.lock();
    try {
      if (session == null && !isClosing && !isOver) connect();
    } finally {
      lock.unlock();
    }
  }

  /** Nothing of the session can be settled any more. */
  private void drop(Session closed) {
    lanes.clear(delivery -> delivery.state = Delivery.State.REVOKED);
    inHand.forEach(this::revoke);
    abandon(closed.settlements.abandon());
  }

  // --- Beginning; under the lock ---

  /** The next delivery to be handled, in hand from now on; null when there is none. */
  Delivery begin() {
    Delivery delivery = isClosing ? null : lanes.take();
    if (delivery != null) inHand.add(delivery);
    return delivery;
  }

  /** Waits for something to change, on behalf of a caller that wants one more. */
  long awaitOneMore(long waitNanos) throws InterruptedException {
    waitingCount++;
    try {
      feed();
      return changed.awaitNanos(waitNanos);
    } finally {
      waitingCount--;
    }
  }

  /**
   * A caller that has all that was granted, and waits for more before it settles any, would wait
   * for ever.
   */
  private void feed() {
    boolean mayGrant = session != null && session.phase == Session.Phase.OPEN && !isClosing;
    if (mayGrant && waitingCount > 0 && lanes.queuedCount() == 0 && credit.starves(inHand.count()))
      session.grant(credit.granted());
  }

  int readyCount() {
    return isClosing ? 0 : lanes.readyCount();
  }

  /** A handler has returned, or thrown. */
  void handled(Delivery delivery, Throwable thrown) {
    if (delivery.state == Delivery.State.IN_HAND) {
      if (thrown == null) settleAck(delivery, null);
      else settleOther(delivery, SettlementOf.nack(thrown), true, new CompletableFuture<>());
    }
    lanes.finished(delivery.lane);
    if (isClosing) changed.signalAll();
  }

  boolean isClosing() {
    return isClosing;
  }

  /** Why it is over; null where that was wished. */
  SluiceException error() {
    return error;
  }

  // --- Settling ---

  CompletableFuture<Boolean> ack(Delivery delivery) {
    return ifInHand(delivery, result -> settleAck(delivery, result));
  }

  CompletableFuture<Boolean> settle(
      Delivery delivery, UnaryOperator<Settlement.Builder> outcome, boolean isNack) {
    return ifInHand(delivery, result -> settleOther(delivery, outcome, isNack, result));
  }

  CompletableFuture<Boolean> extend(Delivery delivery, UnaryOperator<Settlement.Builder> outcome) {
    return ifInHand(delivery, result -> submit(delivery, outcome, null, result));
  }

  /** The result of an action; false at once where the delivery is settled, or was taken back. */
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

  private void settleAck(Delivery delivery, CompletableFuture<Boolean> result) {
    inHand.remove(delivery, Delivery.State.SETTLED);
    Session of = delivery.session;
    grow(of);
    of.settlements.ack(delivery, result);
    // Credit that waits for the interval would hold up the broker.
    if (settings.ackIntervalMs == 0 || of.settlements.ackCount() >= credit.granted() / 4) {
      of.settlements.flush();
    } else if (!of.isAckTimerSet) {
      of.isAckTimerSet = true;
      timer.after(settings.ackIntervalMs, () -> flushAcks(of));
    }
  }

  /** One more is settled: a consumer that keeps up is granted more. */
  private void grow(Session of) {
    if (credit.settled() && of == session && !isClosing) of.grant(credit.granted());
  }

  private void flushAcks(Session of) {
    of.isAckTimerSet = false;
    if (of == session) of.settlements.flush();
  }

  private void settleOther(
      Delivery delivery,
      UnaryOperator<Settlement.Builder> outcome,
      boolean isNack,
      CompletableFuture<Boolean> result) {
    inHand.remove(delivery, Delivery.State.SETTLED);
    grow(delivery.session);
    submit(delivery, outcome, isNack ? lanes.pause(delivery) : null, result);
  }

  private void submit(
      Delivery delivery,
      UnaryOperator<Settlement.Builder> outcome,
      Lane paused,
      CompletableFuture<Boolean> result) {
    Settlements.Waiter waiter =
        new Settlements.Waiter(delivery.partition(), delivery.offset(), result);
    delivery.session.settlements.submit(
        List.of(outcome.apply(delivery.settlement()).build()), List.of(waiter), paused);
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

  // --- Clockwork ---

  private void tickLater(Session of) {
    timer.after(
        Credit.TICK_MS,
        () -> {
          if (of != session || isClosing) return;
          credit.tick(lanes.queuedCount() + inHand.count() > 0);
          feed();
          of.grant(credit.granted());
          if (waitingCount > 0 || hasFreeHandler.getAsBoolean()) of.grantAgain();
          tickLater(of);
        });
  }

  private void extendLater(Session of) {
    timer.after(
        Math.max(1, of.ackDeadlineMs / 3),
        () -> {
          if (of != session) return;
          extendHeld(of);
          extendLater(of);
        });
  }

  private void extendHeld(Session of) {
    OffsetSet held = new OffsetSet();
    lanes.forEachQueued(delivery -> held.add(delivery.partition(), delivery.offset()));
    inHand.forEach(delivery -> held.add(delivery.partition(), delivery.offset()));
    if (held.pieceCount() > 0) of.settlements.extend(held, Duration.ofMillis(of.ackDeadlineMs));
  }

  // --- The end ---

  /** Takes nothing more, waits for handlers (`handlerCount`), settles what they did, and leaves. */
  void close(IntSupplier handlerCount) throws InterruptedException {
    lock.lock();
    try {
      if (isOver) return;
      isClosing = true;
      changed.signalAll();
      if (session != null && session.phase == Session.Phase.OPEN) session.grant(0);
      lanes.clear(delivery -> delivery.state = Delivery.State.REVOKED);
      long waitNanos = TimeUnit.MILLISECONDS.toNanos(settings.drainTimeoutMs);
      while (!isOver && handlerCount.getAsInt() > 0 && waitNanos > 0)
        waitNanos = changed.awaitNanos(waitNanos);
      // Before the connection is there, nothing has been sent that there would be to leave.
      if (session != null && (session.phase != Session.Phase.OPENING || client.isConnected()))
        leave();
      if (!isOver) end(null);
    } finally {
      lock.unlock();
    }
  }

  private void leave() throws InterruptedException {
    Session leaving = session;
    leaving.settlements.flush();
    long waitNanos = TimeUnit.MILLISECONDS.toNanos(ANSWER_TIMEOUT_MS);
    while (session == leaving && !leaving.settlements.isIdle() && waitNanos > 0) {
      waitNanos = changed.awaitNanos(waitNanos);
      // Extensions and nacks may have been before it.
      leaving.settlements.flush();
    }
    // Handlers that are still at work settle nothing any more.
    inHand.forEach(this::revoke);
    if (session == leaving) leaving.leave();
    while (session == leaving && waitNanos > 0) waitNanos = changed.awaitNanos(waitNanos);
  }

  @Override
  public void end(SluiceException reason) {
    lock.lock();
    try {
      if (isOver) return;
      isClosing = true;
      isOver = true;
      error = reason;
      Session last = session;
      session = null;
      if (last != null) {
        drop(last);
        // In good order all the same: a stream that is reset would count against what was in hand.
        last.leave();
        client.after(ANSWER_TIMEOUT_MS, () -> last.cancel("the broker does not end the stream"));
      }
      changed.signalAll();
      client.ended(this);
      client.execute(
          () -> {
            if (reason == null) over.complete(null);
            else over.completeExceptionally(reason);
          });
    } finally {
      lock.unlock();
    }
  }
}
