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
   * how many of its messages are durable. It fences an older process of the name. Default: a random one.
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
   * A batch goes when its first message has waited so long. Default 1.
   *
   * @param milliseconds 0: each message goes at once
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
   * How long a batch is tried; after it, its messages fail with {@link SluiceException#RETRY_TIMEOUT}, and what is behind them goes
   * on. Whether they were stored is not known then. Default: no end.
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
   * Longest pause before a retry. Default 5,000.
   *
   * @param milliseconds above zero
   * @return this
   */
  public ProducerBuilder retryMaxBackoffMs(long milliseconds) {
    this.retryMaxBackoffMs = Checks.atLeast(1, milliseconds, "retryMaxBackoffMs");
    return this;
  }

  /**
   * Asks the broker where this producer ended, and takes over from an older process of its name.
   *
   * @return an open producer, to be closed by whoever opened it
   * @throws SluiceException where the broker can't be reached, or refuses
   */
  public Producer open() {
    client.retryConnection();
    ProducerPosition position = ProducerPosition.of(client, topic, producerId);
    int partitionCount = ProducerPosition.partitionCountOf(client, topic);
    Producer producer = new Producer(client, this, position, partitionCount);
    producer.start();
    return producer;
  }
}
