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

/**
 * A message that is leased to this consumer until it is settled: once, by {@link #ack}, {@link
 * #nack} or {@link #deadLetter}. The first settlement counts. Any thread may call these methods;
 * they settle in the background.
 *
 * <p>Key and payload are views of a received buffer with some hundred messages. Copy what you keep
 * for long.
 */
public final class Delivery {
  /** Where it stands in this process. */
  enum State {
    QUEUED,
    /** A handler, or the caller that iterates, has it. */
    IN_HAND,
    SETTLED,
    /** Taken back by the broker, or its session is over. */
    REVOKED
  }

  final Session session;
  private final Run run;
  private final int index;
  private final long offset;
  private volatile dev.sluice.v1.Message parsed;

  // Guarded by the lock of the consumer.
  Lane lane;
  State state = State.QUEUED;
  Delivery previousInHand;
  Delivery nextInHand;
  Runnable onRevoked;

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
   * The place in the partition.
   *
   * @return from 0
   */
  public long offset() {
    return offset;
  }

  /**
   * 1 for the first delivery; every failed delivery adds 1.
   *
   * @return at least 1
   */
  public int attempt() {
    return run.attempt;
  }

  /**
   * When the broker accepted the message.
   *
   * @return by the broker's clock
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
   * When the event happened, by the producer's clock.
   *
   * @return null for none
   */
  public Instant eventTime() {
    dev.sluice.v1.Message message = message();
    return message.hasEventTime()
        ? Instant.ofEpochSecond(
            message.getEventTime().getSeconds(), message.getEventTime().getNanos())
        : null;
  }

  /**
   * Processed: the broker does not deliver the message again.
   *
   * @return completes with true when that is durable; with false when the lease was over (the
   *     message comes again), or the message was settled before, or the connection broke before the
   *     broker answered
   */
  public CompletableFuture<Boolean> ack() {
    return session.inbox().ack(this);
  }

  /**
   * Failed: the message comes again after the subscription's backoff. The broker takes back the
   * messages behind it in the same partition (or key), and delivers them again, too.
   *
   * @return as of {@link #ack()}
   */
  public CompletableFuture<Boolean> nack() {
    return nack(null, "");
  }

  /**
   * Failed: the message comes again after a delay.
   *
   * @param delay null for the subscription's backoff
   * @param the reason in the dead letter; the client sends at most 1,000 characters
   * @return as of {@link #ack()}
   */
  public CompletableFuture<Boolean> nack(Duration delay, String reason) {
    return session.inbox().settle(this, SettlementOf.nack(delay, reason), true);
  }

  /**
   * Can't be processed: the broker dead-letters the message at once.
   *
   * @param reason kept with the dead letter; the client sends at most 1,000 characters
   * @return as of {@link #ack()}
   */
  public CompletableFuture<Boolean> deadLetter(String reason) {
    return session.inbox().settle(this, SettlementOf.deadLetter(reason), false);
  }

  /**
   * Still being processed: the lease ends this long from now. Consumers extend leases themselves
   * unless this is turned off.
   *
   * @param by above zero
   * @return completes with true when the broker has answered; with false when the lease was over
   */
  public CompletableFuture<Boolean> extend(Duration by) {
    return session.inbox().extend(this, SettlementOf.extend(Objects.requireNonNull(by, "by")));
  }

  /**
   * Whether the broker has taken the message back (the lease ended, a message before it failed, the
   * subscription was moved), or the connection broke: it is, or will be, delivered again, and to
   * settle this delivery does nothing.
   *
   * @return true once the client knows this
   */
  public boolean isRevoked() {
    return session.inbox().isRevoked(this);
  }

  /**
   * Runs a task on the client's executor when the message is taken back; at once where it was taken
   * back already. At most one task.
   *
   * @param task to stop what is under way
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
      throw new UncheckedIOException("message " + partition() + "/" + offset + " can't be read", e);
    }
    parsed = known;
    return known;
  }
}
