package dev.sluice.client;

import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.jspecify.annotations.Nullable;

/**
 * Receives the messages of one subscription, at least once and in order: {@link #run} it with a
 * handler, iterate over it, or call {@link #receive}. When a stream breaks, the consumer opens it
 * again with backoff, until {@link #close}. The errors NOT_FOUND, FAILED_PRECONDITION,
 * INVALID_ARGUMENT, PERMISSION_DENIED, UNAUTHENTICATED and UNIMPLEMENTED end the consumer.
 * Thread-safe.
 */
public final class Consumer implements AutoCloseable, Iterable<Delivery> {
  private final Client client;
  private final ConsumerBuilder settings;

  /** Guards all that follows. */
  private final Object lock = new Object();

  /** Null until the consumer is run or iterated. */
  private @Nullable Inbox inbox;

  private boolean isRun;

  private boolean isClosed;

  Consumer(Client client, ConsumerBuilder settings) {
    this.client = client;
    this.settings = settings;
  }

  /**
   * Calls the handler for each message, up to {@code concurrency} at once, on the executor of the
   * client. The consumer keeps the ordering of the subscription: two handlers never run at once for
   * one partition (or key), also after a reconnect. After a nack, the client begins no message of
   * the same partition (or key) before the broker has said which messages it has revoked.
   *
   * <p>Blocks until the consumer is closed, or has ended with an error.
   *
   * @param handler acknowledges a message when it returns, and nacks it when it throws
   * @throws SluiceException the error that ended the consumer
   * @throws InterruptedException if the thread is interrupted while it waits; then the consumer is
   *     closed, and does not wait for handlers
   * @throws IllegalStateException if the consumer is run or iterated already
   */
  public void run(Handler handler) throws InterruptedException {
    CompletableFuture<@Nullable Void> over = start(handler);
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
   * As {@link #run}, but does not block.
   *
   * @param handler acknowledges a message when it returns, and nacks it when it throws
   * @return completes when the consumer is closed; fails with the {@link SluiceException} that
   *     ended the consumer
   * @throws IllegalStateException if the consumer is run or iterated already
   */
  public CompletableFuture<@Nullable Void> start(Handler handler) {
    return runAsync(
        delivery -> {
          handler.handle(delivery);
          return null;
        });
  }

  /**
   * As {@link #start}, for handlers that return a stage and need no thread while they wait.
   *
   * @param handler acknowledges a message when its stage completes, and nacks it when the stage
   *     fails
   * @return as {@link #start}
   * @throws IllegalStateException if the consumer is run or iterated already
   */
  public CompletableFuture<@Nullable Void> runAsync(AsyncHandler handler) {
    Inbox started;
    synchronized (lock) {
      if (inbox != null) throw new IllegalStateException("the consumer is run or iterated already");
      if (isClosed) throw SluiceException.closed("the consumer");
      started = new Dispatcher(client, settings, handler).inbox();
      inbox = started;
      isRun = true;
    }
    started.start();
    return started.over();
  }

  /**
   * Waits for the next message, which the caller has to settle. {@code concurrency} has no effect
   * here. After a nack, the client returns no message of the same partition (or key) before the
   * broker has said which messages it has revoked.
   *
   * @return the message; null if the consumer is closed
   * @throws SluiceException the error that ended the consumer
   * @throws InterruptedException if the thread is interrupted while it waits
   * @throws IllegalStateException if the consumer is run already
   */
  public @Nullable Delivery receive() throws InterruptedException {
    return receiveWithin(Long.MAX_VALUE);
  }

  /**
   * As {@link #receive()}, but waits at most for the timeout.
   *
   * @param timeout zero or more
   * @return the message; null if none has come in time, or the consumer is closed
   * @throws SluiceException the error that ended the consumer
   * @throws InterruptedException if the thread is interrupted while it waits
   * @throws IllegalStateException if the consumer is run already
   */
  public @Nullable Delivery receive(Duration timeout) throws InterruptedException {
    return receiveWithin(timeout.toNanos());
  }

  private @Nullable Delivery receiveWithin(long waitNanos) throws InterruptedException {
    Inbox from;
    synchronized (lock) {
      if (isRun) throw new IllegalStateException("the consumer is run already");
      if (inbox == null) {
        if (isClosed) return null;
        inbox = Inbox.iterated(client, settings);
      }
      from = inbox;
    }
    from.start();
    return from.receive(waitNanos);
  }

  /**
   * The messages of {@link #receive()}. The iteration ends when the consumer is closed, or the
   * thread is interrupted.
   *
   * @return deliveries, which the caller has to settle
   */
  @Override
  public Iterator<Delivery> iterator() {
    return new Iterator<>() {
      private @Nullable Delivery next;

      @Override
      public boolean hasNext() {
        return peek() != null;
      }

      @Override
      public Delivery next() {
        Delivery delivery = peek();
        if (delivery == null) throw new NoSuchElementException("the consumer is closed");
        next = null;
        return delivery;
      }

      private @Nullable Delivery peek() {
        if (next != null) return next;
        try {
          next = receive();
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
        }
        return next;
      }
    };
  }

  /**
   * Accepts no more messages, waits for running handlers (at most {@code drainTimeoutMs}), sends
   * their settlements, waits for the answers, and leaves. Messages that no handler has begun are
   * free for other consumers, and no attempt is counted. If the thread is interrupted, the consumer
   * leaves at once. A handler must not call this method. A second call does nothing.
   */
  @Override
  public void close() {
    Inbox last;
    synchronized (lock) {
      isClosed = true;
      last = inbox;
    }
    if (last == null) return;
    try {
      last.close();
    } catch (InterruptedException e) {
      last.end(null);
      Thread.currentThread().interrupt();
    }
  }
}
