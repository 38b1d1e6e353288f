package dev.sluice.client;

import dev.sluice.v1.StartPosition;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Objects;

/** Settings of a {@link Consumer}. Every one has a default. */
public final class ConsumerBuilder {
  private final Client client;
  final String topic;
  final String subscription;
  String consumerId;
  StartPosition start;
  int maxOutstandingMessages = 10_000;
  long maxOutstandingBytes = 16 * 1024 * 1024;
  int concurrency = 1;
  long ackIntervalMs = 5;
  boolean extendLeases = true;
  long drainTimeoutMs = 30_000;
  long retryMinBackoffMs = 50;
  long retryMaxBackoffMs = 5_000;

  ConsumerBuilder(Client client, String topic, String subscription) {
    this.client = client;
    this.topic = Objects.requireNonNull(topic, "topic");
    this.subscription = Objects.requireNonNull(subscription, "subscription");
  }

  /**
   * A name for people: shown by ListConsumers. Default: host and process.
   *
   * @param name at most 200 characters
   * @return this
   */
  public ConsumerBuilder consumerId(String name) {
    this.consumerId = name;
    return this;
  }

  /**
   * Where the subscription begins, if this consumer creates it. Default: earliest.
   *
   * @param position made by {@link Start}
   * @return this
   */
  public ConsumerBuilder start(StartPosition position) {
    this.start = position;
    return this;
  }

  /**
   * Most credit: messages that may be delivered and not yet settled. What is granted follows the speed of processing: about a
   * second's worth, at least 16. Default 10,000.
   *
   * @param count above zero
   * @return this
   */
  public ConsumerBuilder maxOutstandingMessages(int count) {
    this.maxOutstandingMessages = Checks.atLeast(1, count, "maxOutstandingMessages");
    return this;
  }

  /**
   * Most bytes that may be delivered and not yet settled. Default 16 MiB.
   *
   * @param bytes above zero; may be passed by one message
   * @return this
   */
  public ConsumerBuilder maxOutstandingBytes(long bytes) {
    this.maxOutstandingBytes = Checks.atLeast(1, bytes, "maxOutstandingBytes");
    return this;
  }

  /**
   * Handlers at once. Order is kept as the subscription orders: by partition, by key, or not. Default 1.
   *
   * @param handlers above zero
   * @return this
   */
  public ConsumerBuilder concurrency(int handlers) {
    this.concurrency = Checks.atLeast(1, handlers, "concurrency");
    return this;
  }

  /**
   * Acknowledgements are gathered so long and sent as ranges; sooner, when they are many. Default 5.
   *
   * @param milliseconds 0: each goes at once
   * @return this
   */
  public ConsumerBuilder ackIntervalMs(long milliseconds) {
    this.ackIntervalMs = Checks.atLeast(0, milliseconds, "ackIntervalMs");
    return this;
  }

  /**
   * Whether leases of what is held are extended at a third of their time. Default: true.
   *
   * @param isOn false: a handler that takes longer than the lease sees its message taken back
   * @return this
   */
  public ConsumerBuilder extendLeases(boolean isOn) {
    this.extendLeases = isOn;
    return this;
  }

  /**
   * How long {@code close} waits for handlers. Default 30,000.
   *
   * @param milliseconds from 0
   * @return this
   */
  public ConsumerBuilder drainTimeoutMs(long milliseconds) {
    this.drainTimeoutMs = Checks.atLeast(0, milliseconds, "drainTimeoutMs");
    return this;
  }

  /**
   * Pause before a broken stream is opened again; it doubles, with jitter. Default 50. A longer one that the broker names counts.
   *
   * @param milliseconds above zero
   * @return this
   */
  public ConsumerBuilder retryMinBackoffMs(long milliseconds) {
    this.retryMinBackoffMs = Checks.atLeast(1, milliseconds, "retryMinBackoffMs");
    return this;
  }

  /**
   * Longest pause before a broken stream is opened again. Default 5,000.
   *
   * @param milliseconds above zero
   * @return this
   */
  public ConsumerBuilder retryMaxBackoffMs(long milliseconds) {
    this.retryMaxBackoffMs = Checks.atLeast(1, milliseconds, "retryMaxBackoffMs");
    return this;
  }

  /**
   * Makes the consumer. It connects when it is run, or first asked for a message.
   *
   * @return a consumer, to be closed by the caller
   */
  public Consumer build() {
    if (consumerId == null) consumerId = host() + "-" + ProcessHandle.current().pid();
    return new Consumer(client, this);
  }

  private static String host() {
    try {
      return InetAddress.getLocalHost().getHostName();
    } catch (UnknownHostException nameless) {
      return "localhost";
    }
  }
}
