package dev.sluice.client;

import java.util.Objects;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/** Settings of a {@link Producer}. Each setting has a default. */
public final class ProducerBuilder {
  /** What {@code send} does while the buffer is full. */
  public enum WhenFull {
    /** Blocks until there is room. */
    WAIT,
    /** Fails with {@link SluiceException#BUFFER_FULL}. */
    FAIL
  }

  private final Client client;
  final String topic;
  @Nullable Integer partition;
  String producerId = "producer-" + UUID.randomUUID();
  int batchMaxBytes = 64 * 1024;
  int batchMaxMessages = 1_000;
  long lingerMs = 1;
  int maxInFlight = 8;
  long bufferMaxBytes = 16 * 1024 * 1024;
  WhenFull whenFull = WhenFull.WAIT;
  long retryTimeoutMs;
  long retryMinBackoffMs = 50;
  long retryMaxBackoffMs = 5_000;

  ProducerBuilder(Client client, String topic) {
    this.client = client;
    this.topic = Objects.requireNonNull(topic, "topic");
  }

  /**
   * Sends all messages to this partition. Default: the hash of the key determines the partition,
   * and messages without a key are spread.
   *
   * @param number from 0
   * @return this
   */
  public ProducerBuilder partition(int number) {
    this.partition = number;
    return this;
  }

  /**
   * The name of the producer. With a fixed name, a restarted process continues where the last
   * process ended: {@link Producer#lastSequence()} is the number of its durable messages. Opening
   * claims the name: from then on, the broker stores no messages of older processes of the name.
   * Default: a random name.
   *
   * @param name at most 200 characters
   * @return this
   */
  public ProducerBuilder producerId(String name) {
    this.producerId = Objects.requireNonNull(name, "producerId");
    return this;
  }

  /**
   * The client sends a batch when it is about this large. Default 64 KiB.
   *
   * @param bytes above zero; a single larger message makes a batch of its own
   * @return this
   */
  public ProducerBuilder batchMaxBytes(int bytes) {
    this.batchMaxBytes = Checks.atLeast(1, bytes, "batchMaxBytes");
    return this;
  }

  /**
   * The client sends a batch when it has this many messages. Default 1,000.
   *
   * @param count from 1 to 100,000
   * @return this
   */
  public ProducerBuilder batchMaxMessages(int count) {
    this.batchMaxMessages = Checks.atLeast(1, count, "batchMaxMessages");
    return this;
  }

  /**
   * The client sends a batch when its first message has waited this long. Default 1. While {@code
   * maxInFlight} batches are under way, the next batch gathers messages until it is full, whatever
   * the linger is.
   *
   * @param milliseconds 0: the client sends a message as soon as it may send a batch
   * @return this
   */
  public ProducerBuilder lingerMs(long milliseconds) {
    this.lingerMs = Checks.atLeast(0, milliseconds, "lingerMs");
    return this;
  }

  /**
   * The maximum number of sent batches without a receipt. Default 8.
   *
   * @param batches from 1 to 1,000
   * @return this
   */
  public ProducerBuilder maxInFlight(int batches) {
    this.maxInFlight = Checks.atLeast(1, batches, "maxInFlight");
    return this;
  }

  /**
   * The maximum approximate size of the messages that were handed over and have no receipt. Default
   * 16 MiB.
   *
   * @param bytes above zero; one message may exceed it
   * @return this
   */
  public ProducerBuilder bufferMaxBytes(long bytes) {
    this.bufferMaxBytes = Checks.atLeast(1, bytes, "bufferMaxBytes");
    return this;
  }

  /**
   * What {@code send} does while the buffer is full. Default: waits.
   *
   * @param choice wait or fail
   * @return this
   */
  public ProducerBuilder whenFull(WhenFull choice) {
    this.whenFull = Objects.requireNonNull(choice, "whenFull");
    return this;
  }

  /**
   * How long the client tries a message, counted from {@code send}, whatever the broker does. Then
   * the message fails with {@link SluiceException#RETRY_TIMEOUT}, and later messages continue. The
   * broker may have stored the message, but only before every later message. {@link Producer#close}
   * takes no longer than this. Default: no limit.
   *
   * @param milliseconds 0 for no limit
   * @return this
   */
  public ProducerBuilder retryTimeoutMs(long milliseconds) {
    this.retryTimeoutMs = Checks.atLeast(0, milliseconds, "retryTimeoutMs");
    return this;
  }

  /**
   * Pause before the first retry; it doubles, with jitter. Default 50. If the broker asks for a
   * longer pause, the client uses it.
   *
   * @param milliseconds above zero
   * @return this
   */
  public ProducerBuilder retryMinBackoffMs(long milliseconds) {
    this.retryMinBackoffMs = Checks.atLeast(1, milliseconds, "retryMinBackoffMs");
    return this;
  }

  /**
   * The longest pause before a retry. Default 5,000, or half of {@code retryTimeoutMs} if that is
   * less.
   *
   * @param milliseconds above zero
   * @return this
   */
  public ProducerBuilder retryMaxBackoffMs(long milliseconds) {
    this.retryMaxBackoffMs = Checks.atLeast(1, milliseconds, "retryMaxBackoffMs");
    return this;
  }

  /** At most half of the retry timeout, so that there is time for a retry. */
  long maxBackoffMs() {
    return retryTimeoutMs == 0
        ? retryMaxBackoffMs
        : Math.min(retryMaxBackoffMs, Math.max(1, retryTimeoutMs / 2));
  }

  long lingerMs() {
    return retryTimeoutMs == 0 ? lingerMs : Math.min(lingerMs, Math.max(1, retryTimeoutMs / 2));
  }

  /**
   * Claims the name of the producer: from the broker's answer on, every process that opened the
   * same name before is fenced. If the broker can't be reached, the client tries for 10 s, or for
   * {@code retryTimeoutMs}.
   *
   * @return an open producer, which the caller has to close
   * @throws SluiceException if the broker can't be reached, or refuses
   */
  public Producer open() {
    ProducerPosition position = ProducerPosition.open(client, this);
    int partitionCount = ProducerPosition.partitionCountOf(client, this);
    Producer producer = new Producer(client, this, position, partitionCount);
    producer.start();
    return producer;
  }
}
