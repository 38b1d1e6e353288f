package dev.sluice.client;

import dev.sluice.v1.StartPosition;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Settings of a {@link Consumer}. Each setting has a default. */
public final class ConsumerBuilder {
  private final Client client;
  final String topic;
  final String subscription;

  /** Empty for the default. */
  String consumerId = "";

  @Nullable StartPosition start;
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
   * A name that ListConsumers shows. Default: host and process.
   *
   * @param name at most 200 characters
   * @return this
   */
  public ConsumerBuilder consumerId(String name) {
    this.consumerId = Objects.requireNonNull(name, "consumerId");
    return this;
  }

  /**
   * Where the subscription begins, if this consumer creates it. Default: earliest.
   *
   * @param position a position of {@link Start}
   * @return this
   */
  public ConsumerBuilder start(StartPosition position) {
    this.start = position;
    return this;
  }

  /**
   * The maximum of the message credit: messages that are delivered and not settled. The credit
   * follows the speed of processing: the messages of about a second, at least 16. Default 10,000.
   *
   * @param count above zero
   * @return this
   */
  public ConsumerBuilder maxOutstandingMessages(int count) {
    this.maxOutstandingMessages = Checks.atLeast(1, count, "maxOutstandingMessages");
    return this;
  }

  /**
   * The byte credit: bytes that are delivered and not settled. Default 16 MiB.
   *
   * @param bytes above zero; one message may exceed it
   * @return this
   */
  public ConsumerBuilder maxOutstandingBytes(long bytes) {
    this.maxOutstandingBytes = Checks.atLeast(1, bytes, "maxOutstandingBytes");
    return this;
  }

  /**
   * The number of parallel handlers. They keep the ordering of the subscription: by partition, by
   * key, or none. Default 1.
   *
   * @param handlers above zero
   * @return this
   */
  public ConsumerBuilder concurrency(int handlers) {
    this.concurrency = Checks.atLeast(1, handlers, "concurrency");
    return this;
  }

  /**
   * The client gathers acknowledgements for this time and sends them as ranges; it sends many
   * acknowledgements sooner. Default 5.
   *
   * @param milliseconds 0: sends each at once
   * @return this
   */
  public ConsumerBuilder ackIntervalMs(long milliseconds) {
    this.ackIntervalMs = Checks.atLeast(0, milliseconds, "ackIntervalMs");
    return this;
  }

  /**
   * Whether the client extends leases, each third of the lease time. Default: true.
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
   * Pause before a broken stream is opened again; it doubles, with jitter. Default 50. If the
   * broker asks for a longer pause, the client uses it.
   *
   * @param milliseconds above zero
   * @return this
   */
  public ConsumerBuilder retryMinBackoffMs(long milliseconds) {
    this.retryMinBackoffMs = Checks.atLeast(1, milliseconds, "retryMinBackoffMs");
    return this;
  }

  /**
   * The longest pause before a broken stream is opened again. Default 5,000.
   *
   * @param milliseconds above zero
   * @return this
   */
  public ConsumerBuilder retryMaxBackoffMs(long milliseconds) {
    this.retryMaxBackoffMs = Checks.atLeast(1, milliseconds, "retryMaxBackoffMs");
    return this;
  }

  /**
   * Creates the consumer. It connects when it is run, or when the caller first asks for a message.
   *
   * @return a consumer, to be closed by the caller
   */
  public Consumer build() {
    if (consumerId.isEmpty()) consumerId = host() + "-" + ProcessHandle.current().pid();
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
