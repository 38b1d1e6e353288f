package dev.sluice.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.UnsafeByteOperations;
import dev.sluice.v1.Settlement;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/**
 * A message that is leased to this consumer until it is settled by {@link #ack}, {@link #nack} or
 * {@link #deadLetter}. The first settlement counts. Any thread may call these methods; they settle
 * in the background.
 *
 * <p>Key and payload are views of a received buffer, which can contain hundreds of messages. Copy
 * them if you keep them for long.
 */
public final class Delivery {
  /** The states of a delivery in this process. */
  enum State {
    /** Waits in a lane. */
    QUEUED,
    /** A handler, or the caller that iterates, has the delivery. */
    IN_HAND,
    /** The first settlement was made. */
    SETTLED,
    /** The broker has revoked the delivery, or its session has ended. */
    REVOKED
  }

  final Session session;
  private final Run run;
  private final int index;
  private final long offset;
  private volatile dev.sluice.v1.@Nullable Message parsed;

  // Guarded by the lock of the inbox.
  @Nullable Lane lane;
  State state = State.QUEUED;
  @Nullable Delivery previousInHand;
  @Nullable Delivery nextInHand;
  @Nullable Runnable onRevoked;

  Delivery(Session session, Run run, int index) {
    this.session = session;
    this.run = run;
    this.index = index;
    this.offset = run.firstOffset + index;
  }

  /**
   * The topic of the subscription.
   *
   * @return its name
   */
  public String topic() {
    return session.topic();
  }

  /**
   * The partition of the topic.
   *
   * @return from 0
   */
  public int partition() {
    return run.partition;
  }

  /**
   * The offset in the partition.
   *
   * @return from 0
   */
  public long offset() {
    return offset;
  }

  /**
   * The number of the attempt: 1 for the first delivery, and 1 more for each failed attempt.
   *
   * @return at least 1
   */
  public int attempt() {
    return run.attempt;
  }

  /**
   * The time at which the broker accepted the message.
   *
   * @return a time of the clock of the broker
   */
  public Instant publishTime() {
    return run.publishTime;
  }

  /**
   * The name of the producer.
   *
   * @return empty for an anonymous producer
   */
  public String producerId() {
    return run.producerId;
  }

  /**
   * The key, which determines partition and order.
   *
   * @return empty for none
   */
  public ByteString key() {
    return message().getKey();
  }

  /**
   * The content.
   *
   * @return may be empty
   */
  public ByteString payload() {
    return message().getPayload();
  }

  /**
   * Application and tracing metadata.
   *
   * @return text by name
   */
  public Map<String, String> headers() {
    return message().getHeadersMap();
  }

  /**
   * The time of the event.
   *
   * @return a time of the clock of the producer; null if the producer gave none
   */
  public @Nullable Instant eventTime() {
    dev.sluice.v1.Message message = message();
    return message.hasEventTime()
        ? Instant.ofEpochSecond(
            message.getEventTime().getSeconds(), message.getEventTime().getNanos())
        : null;
  }

  /**
   * Acknowledges the message: the broker does not deliver it again.
   *
   * @return completes with true when the acknowledgement is durable; with false if the lease was
   *     over (the broker delivers the message again), if the message was settled before, or if the
   *     connection broke before the broker answered
   */
  public CompletableFuture<Boolean> ack() {
    return session.inbox().ack(this);
  }

  /**
   * Nacks the message: the broker delivers it again after the backoff of the subscription. The
   * broker revokes the messages behind it in the same partition (or key), and delivers them again,
   * too.
   *
   * @return as {@link #ack()}
   */
  public CompletableFuture<Boolean> nack() {
    return nack(null, "");
  }

  /**
   * Nacks the message: the broker delivers it again after a delay.
   *
   * @param delay the delay; null for the backoff of the subscription
   * @param reason the reason in the dead letter; the client sends at most 1,000 characters
   * @return as {@link #ack()}
   */
  public CompletableFuture<Boolean> nack(@Nullable Duration delay, String reason) {
    return session.inbox().settle(this, SettlementOf.nack(delay, reason), true);
  }

  /**
   * Dead-letters the message at once, because it cannot be processed.
   *
   * @param reason the reason in the dead letter; the client sends at most 1,000 characters
   * @return as {@link #ack()}
   */
  public CompletableFuture<Boolean> deadLetter(String reason) {
    return session.inbox().settle(this, SettlementOf.deadLetter(reason), false);
  }

  /**
   * Extends the lease: it then ends this long from now. Consumers extend leases themselves unless
   * {@link ConsumerBuilder#extendLeases} is off.
   *
   * @param by the time until the end of the lease; above zero
   * @return completes with true when the broker has extended the lease; with false if the lease was
   *     over
   */
  public CompletableFuture<Boolean> extend(Duration by) {
    return session.inbox().extend(this, SettlementOf.extend(Objects.requireNonNull(by, "by")));
  }

  /**
   * Whether the delivery is revoked: the lease ended, a message before it failed, the subscription
   * was moved, or the connection broke. The broker delivers the message again. A settlement of this
   * delivery has no effect.
   *
   * @return true when the client knows that the delivery is revoked
   */
  public boolean isRevoked() {
    return session.inbox().isRevoked(this);
  }

  /**
   * Runs a task on the executor of the client when the delivery is revoked; at once if it is
   * revoked already. A delivery has at most one task: a later call replaces it.
   *
   * @param task for example stops the handler
   */
  public void whenRevoked(Runnable task) {
    session.inbox().whenRevoked(this, Objects.requireNonNull(task, "task"));
  }

  Settlement.Builder settlement() {
    Settlement.Builder settlement = Settlement.newBuilder();
    settlement
        .getOffsetsBuilder()
        .setPartition(partition())
        .setFirstOffset(offset)
        .setLastOffset(offset);
    return settlement;
  }

  private dev.sluice.v1.Message message() {
    dev.sluice.v1.Message known = parsed;
    if (known != null) return known;
    int begin = run.beginOf(index);
    try {
      ByteString bytes =
          UnsafeByteOperations.unsafeWrap(run.frame, begin, run.endOf(index) - begin);
      CodedInputStream in = bytes.newCodedInput();
      in.enableAliasing(true);
      known = dev.sluice.v1.Message.parseFrom(in);
    } catch (IOException e) {
      throw new UncheckedIOException(
          "message " + partition() + "/" + offset + " cannot be parsed", e);
    }
    parsed = known;
    return known;
  }
}
