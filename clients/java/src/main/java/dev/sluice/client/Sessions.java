package dev.sluice.client;

import dev.sluice.v1.ConsumeResponse;
import dev.sluice.v1.GetSubscriptionRequest;
import dev.sluice.v1.Ordering;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Keeps a session of a consumer open, from its start until its end: opens a new session when one
 * breaks. What happens with the messages of a session is the part of {@link Inbox}.
 */
abstract class Sessions implements Client.Endable {
  private static final long ANSWER_TIMEOUT_MS = 10_000;

  final Client client;
  final ConsumerBuilder settings;

  /** Guards all that follows, the sessions, and the state of the inbox. */
  final ReentrantLock lock = new ReentrantLock();

  /** Messages have arrived, or something has ended that `close` waits for. */
  final Condition changed = lock.newCondition();

  final Backoff backoff;

  /** Null between sessions. */
  @Nullable Session session;

  private boolean isStarted;
  boolean isClosing;
  private boolean isOver;

  /** The error that ended the consumer. Null if there is none. */
  @Nullable SluiceException error;

  /** Completes when the consumer is over. */
  private final CompletableFuture<@Nullable Void> over = new CompletableFuture<>();

  Sessions(Client client, ConsumerBuilder settings) {
    this.client = client;
    this.settings = settings;
    this.backoff = new Backoff(settings.retryMinBackoffMs, settings.retryMaxBackoffMs);
  }

  // The inbox implements these methods. They are called with the lock.

  /** Makes a session with the present credit. */
  abstract Session newSession();

  /** The session is open, and the ordering of its messages is known. */
  abstract void begin(Session opened, Ordering ordering);

  /** Takes the messages and answers of a frame. */
  abstract void take(Session from, ConsumeFrame frame);

  /** Drops the messages that no handler and no caller has. */
  abstract void dropQueued();

  /** Drops the messages that handlers or callers have. */
  abstract void dropInHand();

  /** Fails the settlements of a session that have no answer. */
  abstract void abandonSettlements(Session ended);

  /** The number of handlers that are not complete. */
  abstract int runningCount();

  /** Runs a task later, with the lock. */
  void after(long waitMs, Runnable task) {
    client.after(
        waitMs,
        () -> {
          lock.lock();
          try {
            task.run();
          } finally {
            lock.unlock();
          }
        });
  }

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
    Session opening = newSession();
    session = opening;
    opening.start();
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

  private void askOrder(Session opened) {
    GetSubscriptionRequest request =
        GetSubscriptionRequest.newBuilder()
            .setTopic(settings.topic)
            .setName(settings.subscription)
            .build();
    Ordering ordering;
    try {
      ordering = client.admin().getSubscription(request).getSubscription().getOrdering();
    } catch (RuntimeException thrown) {
      orderFailed(opened, SluiceException.from(thrown));
      return;
    }
    ordered(opened, ordering);
  }

  /**
   * Asks again if the error may pass. The session stays open, because a reset can count attempts.
   */
  private void orderFailed(Session opened, SluiceException failed) {
    lock.lock();
    try {
      if (Failure.endsConsumer(failed)) {
        closed(opened, failed);
        opened.leave();
      } else if (opened == session && !isClosing) {
        long waitMs = backoff.nextMs(failed.retryDelay().orElse(null));
        client.after(waitMs, () -> client.execute(() -> askOrder(opened)));
      }
    } finally {
      lock.unlock();
    }
  }

  private void ordered(Session opened, Ordering ordering) {
    lock.lock();
    try {
      if (opened != session) return;
      opened.phase = Session.Phase.OPEN;
      begin(opened, ordering);
      for (ConsumeFrame frame : opened.early) take(opened, frame);
      opened.early.clear();
    } finally {
      lock.unlock();
    }
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

  /** The session has ended: none of its messages can be settled. */
  private void drop(Session ended) {
    ended.freezeCredit();
    dropQueued();
    dropInHand();
    abandonSettlements(ended);
  }

  static boolean isOpen(@Nullable Session session) {
    return session != null && session.phase == Session.Phase.OPEN;
  }

  CompletableFuture<@Nullable Void> over() {
    return over.copy();
  }

  /** Accepts no more messages, waits for handlers, sends their settlements, and leaves. */
  void close() throws InterruptedException {
    lock.lock();
    try {
      if (isOver) return;
      isClosing = true;
      changed.signalAll();
      Session open = session;
      if (open != null) {
        if (isOpen(open)) open.grant(0);
        open.freezeCredit();
      }
      dropQueued();
      long waitNanos = TimeUnit.MILLISECONDS.toNanos(settings.drainTimeoutMs);
      while (!isOver && runningCount() > 0 && waitNanos > 0) {
        waitNanos = changed.awaitNanos(waitNanos);
      }
      // Before there is a connection, the broker knows nothing of the session.
      Session last = session;
      if (last != null && (last.phase != Session.Phase.OPENING || client.isConnected())) {
        leave(last);
      }
      if (!isOver) end(null);
    } finally {
      lock.unlock();
    }
  }

  private void leave(Session leaving) throws InterruptedException {
    leaving.settlements.flush();
    long waitNanos = TimeUnit.MILLISECONDS.toNanos(ANSWER_TIMEOUT_MS);
    while (session == leaving && !leaving.settlements.isIdle() && waitNanos > 0) {
      waitNanos = changed.awaitNanos(waitNanos);
      // Requests that were sent before may have kept the acknowledgements from being sent.
      leaving.settlements.flush();
    }
    // Handlers that still run cannot settle any more.
    dropInHand();
    if (session == leaving) leaving.leave();
    while (session == leaving && waitNanos > 0) waitNanos = changed.awaitNanos(waitNanos);
  }

  @Override
  public void end(@Nullable SluiceException reason) {
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
        // Leaves first: for a stream that is reset, the broker can count attempts.
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
