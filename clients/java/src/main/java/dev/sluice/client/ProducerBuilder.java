package dev.sluice.client;

import java.util.Objects;
import java.util.UUID;

/** Settings of a {@link Producer}. Every one has a default. */
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
  Integer partition;
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
   * Sends all messages to this partition. Default: by the hash of their key, or spread where they have none.
   *
   * @param number from 0
   * @return this
   */
  public ProducerBuilder partition(int number) {
    this.partition = number;
    return this;
  }

  /**
   * Who produces. With a name of its own a restarted process goes on where the last one ended: {@link Producer#lastSequence()} says
   * how many of its messages are durable. Opening claims the name: an older process of the name is fenced from then on, and stores
   * nothing any more. Default: a random one.
   *
   * @param name at most 200 characters
   * @return this
   */
  public ProducerBuilder producerId(String name) {
    this.producerId = Objects.requireNonNull(name, "producerId");
    return this;
  }

  /**
   * A batch goes when it is about this large. Default 64 KiB.
   *
   * @param bytes above zero; a single larger message makes a batch of its own
   * @return this
   */
  public ProducerBuilder batchMaxBytes(int bytes) {
    this.batchMaxBytes = Checks.atLeast(1, bytes, "batchMaxBytes");
    return this;
  }

  /**
   * A batch goes when it has so many messages. Default 1,000.
   *
   * @param count from 1 to 100,000
   * @return this
   */
  public ProducerBuilder batchMaxMessages(int count) {
    this.batchMaxMessages = Checks.atLeast(1, count, "batchMaxMessages");
    return this;
  }

  /**
   * A batch goes when its first message has waited so long. Default 1. While {@code maxInFlight} batches are under way, the next one
   * gathers messages until it is full, whatever the linger.
   *
   * @param milliseconds 0: a message goes as soon as a batch may be sent
   * @return this
   */
  public ProducerBuilder lingerMs(long milliseconds) {
    this.lingerMs = Checks.atLeast(0, milliseconds, "lingerMs");
    return this;
  }

  /**
   * Most batches under way that have no receipt yet. Default 8.
   *
   * @param batches from 1 to 1,000
   * @return this
   */
  public ProducerBuilder maxInFlight(int batches) {
    this.maxInFlight = Checks.atLeast(1, batches, "maxInFlight");
    return this;
  }

  /**
   * Most messages that were handed over and have no receipt yet, in bytes, about. Default 16 MiB.
   *
   * @param bytes above zero; may be passed by one message
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
   * How long after {@code send} a message may be tried, about: then it fails with {@link SluiceException#RETRY_TIMEOUT}, whatever the
   * broker does, and what is behind it goes on. It may be stored all the same, but only before anything behind it is.
   * {@link Producer#close} takes no longer, either. Default: no end.
   *
   * @param milliseconds 0 for no end
   * @return this
   */
  public ProducerBuilder retryTimeoutMs(long milliseconds) {
    this.retryTimeoutMs = Checks.atLeast(0, milliseconds, "retryTimeoutMs");
    return this;
  }

  /**
   * Pause before the first retry; it doubles, with jitter. Default 50. A longer one that the broker names counts.
   *
   * @param milliseconds above zero
   * @return this
   */
  public ProducerBuilder retryMinBackoffMs(long milliseconds) {
    this.retryMinBackoffMs = Checks.atLeast(1, milliseconds, "retryMinBackoffMs");
    return this;
  }

  /**
   * Longest pause before a retry. Default 5,000, or half of {@code retryTimeoutMs} if that is less.
   *
   * @param milliseconds above zero
   * @return this
   */
  public ProducerBuilder retryMaxBackoffMs(long milliseconds) {
    this.retryMaxBackoffMs = Checks.atLeast(1, milliseconds, "retryMaxBackoffMs");
    return this;
  }

  /** Half of the time in which a batch has to be stored: a pause must not be all of it. */
  long maxBackoffMs() {
    return retryTimeoutMs == 0 ? retryMaxBackoffMs : Math.min(retryMaxBackoffMs, Math.max(1, retryTimeoutMs / 2));
  }

  long lingerMs() {
    return retryTimeoutMs == 0 ? lingerMs : Math.min(lingerMs, Math.max(1, retryTimeoutMs / 2));
  }

  /**
   * Claims the name of the producer: from the broker's answer on, every process that opened the same name before is fenced. A broker
   * that can't be reached is tried for 10 s, or for {@code retryTimeoutMs}.
   *
   * @return an open producer, to be closed by its opener
   * @throws SluiceException where the broker can't be reached, or refuses
   */
  public Producer open() {
    ProducerPosition position = ProducerPosition.open(client, this);
    int partitionCount = ProducerPosition.partitionCountOf(client, this);
    Producer producer = new Producer(client, this, position, partitionCount);
    producer.start();
    return producer;
  }
}
