package dev.sluice.client;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.jspecify.annotations.Nullable;

/**
 * Sends messages to one topic, in batches. The broker stores each message once, in the order of
 * {@code send}, also when the client retries. If the broker refuses a batch finally, the messages
 * of this batch fail, and later batches continue. A producer ends when it is fenced, when its topic
 * is deleted, or when it may not publish: then every {@code send} fails with this error.
 * Thread-safe.
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
   * Sends a message in the background. Blocks while the buffer is full, unless {@link
   * ProducerBuilder#whenFull} says otherwise.
   *
   * <p>The future completes, on the executor of the client, when the message is durable. It fails
   * with a {@link SluiceException} if the broker refuses the message, or if the producer is closed
   * or has ended. To cancel the future does not stop the message.
   *
   * @param message the message; it is encoded before this method returns
   * @return completes with the place of the message
   */
  public CompletableFuture<Receipt> send(Message message) {
    CompletableFuture<Receipt> receipt = new CompletableFuture<>();
    SluiceException refused = outbox.add(message, receipt);
    if (refused != null) receipt.completeExceptionally(refused);
    return receipt;
  }

  /**
   * Sends the messages that wait, without the linger.
   *
   * @return completes when all messages that were sent before have their results, and their futures
   *     are complete. Do not wait for it in a callback of a receipt
   */
  public CompletableFuture<@Nullable Void> flush() {
    return outbox.flush();
  }

  /**
   * The number of the last message of this producer that is durable or under way. Messages are
   * numbered from 1, also across processes that use the same producer name.
   *
   * @return the number; 0 if there is no message
   */
  public long lastSequence() {
    return outbox.lastSequence();
  }

  /**
   * Accepts no more messages, waits until all messages have their results, and ends. If the broker
   * cannot be reached, this waits for it, at most for {@code retryTimeoutMs} if that is set. If the
   * thread is interrupted, the producer ends at once, and messages without a receipt fail. A second
   * call does nothing.
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
