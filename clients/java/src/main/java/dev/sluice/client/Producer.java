package dev.sluice.client;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/**
 * Sends messages to one topic: in batches, several under way at once, each message stored once and
 * in the order of {@code send}, whatever breaks meanwhile. A batch that the broker refuses for good
 * fails alone, and those behind it go on. A producer that is fenced, whose topic is deleted, or
 * that may not publish is over: every {@code send} fails with that error. Safe for any number of
 * threads.
 */
public final class Producer implements AutoCloseable {
  private final Outbox outbox;

  Producer(Client client, ProducerBuilder settings, ProducerPosition position, int partitionCount) {
    this.outbox = new Outbox(client, settings, position, partitionCount);
  }

  void start() {
    outbox.start();
  }

  /**
   * Hands a message over. While the buffer is full it blocks, unless the producer would rather
   * fail.
   *
   * <p>The future completes, on the client's executor, when the message is durable. It fails with a
   * {@link SluiceException} when the broker refuses the message, or the producer is closed or over.
   * Cancelling it changes nothing: the message was handed over.
   *
   * @param message is encoded before this returns
   * @return where the message is
   */
  public CompletableFuture<Receipt> send(Message message) {
    CompletableFuture<Receipt> receipt = new CompletableFuture<>();
    SluiceException refused = outbox.add(message, receipt);
    if (refused != null) receipt.completeExceptionally(refused);
    return receipt;
  }

  /**
   * Sends what waits, without its linger.
   *
   * @return completes when everything that was handed over before has its answer, and those who
   *     waited for it have been told. Do not block on it in a callback of a receipt
   */
  public CompletableFuture<Void> flush() {
    return outbox.flush();
  }

  /**
   * Messages of this producer that are durable or under way, counted from 1: a named producer goes
   * on behind them.
   *
   * @return the number of the last one; 0 before the first
   */
  public long lastSequence() {
    return outbox.lastSequence();
  }

  /**
   * Takes no more messages, waits until all that were handed over have their answers, and ends. A
   * broker that can't be reached is waited for, unless {@code retryTimeoutMs} says how long.
   * Interrupted, it ends at once: what has no receipt fails. Harmless twice.
   */
  @Override
  public void close() {
    try {
      outbox.finish().get();
    } catch (InterruptedException e) {
      outbox.end(SluiceException.closed("the producer"));
      Thread.currentThread().interrupt();
    } catch (ExecutionException e) {
      throw SluiceException.from(e);
    }
  }
}
