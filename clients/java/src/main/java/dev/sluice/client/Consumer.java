package dev.sluice.client;

import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/**
 * Receives from one subscription, at least once and in order: {@link #run} it with a handler, or
 * iterate, or {@link #receive}. A broken stream is opened again with backoff, until {@link #close}.
 * What cannot mend (NOT_FOUND, FAILED_PRECONDITION, INVALID_ARGUMENT, PERMISSION_DENIED,
 * UNAUTHENTICATED, UNIMPLEMENTED) ends the consumer with that error. Safe for any number of
 * threads.
 */
public final class Consumer implements AutoCloseable, Iterable<Delivery> {
  private final Client client;
  private final ConsumerBuilder settings;

  /** Null until it is known how deliveries are wanted. */
  private Inbox inbox;

  /** Null where they are iterated. */
  private Dispatcher dispatcher;

  private boolean isClosed;

  Consumer(Client client, ConsumerBuilder settings) {
    this.client = client;
    this.settings = settings;
  }

  /**
   * Handles every message, up to {@code concurrency} at once, on the client's executor. Order is
   * kept as the subscription orders: never two handlers at once for one partition (or key), also
   * across reconnects; and behind a nack nothing of the same partition (or key) is begun before the
   * broker has said what it has taken back.
   *
   * <p>Blocks until the consumer is closed, or fails.
   *
   * @param handler to return acknowledges, to throw nacks
   * @throws SluiceException that ended the consumer
   * @throws InterruptedException when the thread is interrupted while it waits: the consumer is
   *     closed, without waiting for handlers
   * @throws IllegalStateException when the consumer is run or iterated already
   */
  public void run(Handler handler) throws InterruptedException {
    CompletableFuture<Void> over = start(handler);
    try {
      over.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      close();
      Thread.interrupted();
      throw e;
    } catch (ExecutionException e) {
      throw SluiceException.from(e);
    }
  }

  /**
   * As {@link #run}, but returns at once.
   *
   * @param handler to return acknowledges, to throw nacks
   * @return completes when the consumer is closed; fails with the {@link SluiceException} that
   *     ended it
   * @throws IllegalStateException when the consumer is run or iterated already
   */
  public CompletableFuture<Void> start(Handler handler) {
    return runAsync(
        delivery -> {
          handler.handle(delivery);
          return null;
        });
  }

  /**
   * As {@link #start}, for handlers that do not need a thread while they wait.
   *
   * @param handler when its stage completes, the message is acknowledged; when it fails, nacked
   * @return as of {@link #start}
   * @throws IllegalStateException when the consumer is run or iterated already
   */
  public CompletableFuture<Void> runAsync(AsyncHandler handler) {
    Inbox started;
    synchronized (this) {
      if (inbox != null) throw new IllegalStateException("the consumer is run or iterated already");
      if (isClosed) throw SluiceException.closed("the consumer");
      dispatcher = new Dispatcher(client, settings, handler);
      inbox = started = dispatcher.inbox();
    }
    started.start();
    return started.over.copy();
  }

  /**
   * Waits for the next message, which the caller has to settle. {@code concurrency} does not matter
   * here; after a nack, what was queued behind it is held until the broker has said what it has
   * taken back.
   *
   * @return null when the consumer is closed
   * @throws SluiceException that ended the consumer
   * @throws InterruptedException when the thread is interrupted while it waits
   * @throws IllegalStateException when the consumer is run already
   */
  public Delivery receive() throws InterruptedException {
    return receiveWithin(Long.MAX_VALUE);
  }

  /**
   * As {@link #receive()}, for so long.
   *
   * @param timeout from zero
   * @return null when there was none, or the consumer is closed
   * @throws SluiceException that ended the consumer
   * @throws InterruptedException when the thread is interrupted while it waits
   * @throws IllegalStateException when the consumer is run already
   */
  public Delivery receive(Duration timeout) throws InterruptedException {
    return receiveWithin(timeout.toNanos());
  }

  private Delivery receiveWithin(long waitNanos) throws InterruptedException {
    Inbox from = iterated();
    if (from == null) return null;
    from.lock.lockInterruptibly();
    try {
      for (long left = waitNanos; ; left = from.awaitOneMore(left)) {
        Delivery delivery = from.begin();
        if (delivery != null) return delivery;
        if (from.error() != null) throw from.error();
        if (from.isClosing() || left <= 0) return null;
      }
    } finally {
      from.lock.unlock();
    }
  }

  private Inbox iterated() {
    Inbox started;
    synchronized (this) {
      if (dispatcher != null) throw new IllegalStateException("the consumer is run already");
      if (inbox == null) {
        if (isClosed) return null;
        Inbox[] self = new Inbox[1];
        self[0] =
            new Inbox(client, settings, false, () -> self[0].changed.signalAll(), () -> false);
        inbox = self[0];
      }
      started = inbox;
    }
    started.start();
    return started;
  }

  /**
   * The messages as they come, as by {@link #receive()}: ends when the consumer is closed, or its
   * thread interrupted.
   *
   * @return deliveries, each to be settled by the caller
   */
  @Override
  public Iterator<Delivery> iterator() {
    return new Iterator<>() {
      private Delivery next;

      @Override
      public boolean hasNext() {
        if (next != null) return true;
        try {
          next = receive();
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
        }
        return next != null;
      }

      @Override
      public Delivery next() {
        if (!hasNext()) throw new NoSuchElementException("the consumer is closed");
        Delivery delivery = next;
        next = null;
        return delivery;
      }
    };
  }

  /**
   * Takes no more messages, lets running handlers finish (for {@code drainTimeoutMs}), sends what
   * was settled and waits for the answers, then leaves: what was not begun is free for others, and
   * has not failed. Interrupted, it leaves at once. Not to be called by a handler. Harmless twice.
   */
  @Override
  public void close() {
    Inbox last;
    Dispatcher handlers;
    synchronized (this) {
      isClosed = true;
      last = inbox;
      handlers = dispatcher;
    }
    if (last == null) return;
    try {
      last.close(handlers == null ? () -> 0 : handlers::runningCount);
    } catch (InterruptedException e) {
      last.end(null);
      Thread.currentThread().interrupt();
    }
  }
}
