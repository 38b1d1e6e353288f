package dev.sluice.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;

/**
 * A message to be sent. Arrays that it was made of are not copied: leave them as they are until
 * {@code send} has returned.
 */
public final class Message {
  private final ByteString key;
  private final ByteString payload;
  private final Map<String, String> headers;
  private final Instant eventTime;

  private Message(
      ByteString key, ByteString payload, Map<String, String> headers, Instant eventTime) {
    this.key = key;
    this.payload = payload;
    this.headers = headers;
    this.eventTime = eventTime;
  }

  /**
   * A message without a key.
   *
   * @param payload any bytes
   * @return a message
   */
  public static Message of(byte[] payload) {
    return new Message(ByteString.EMPTY, UnsafeByteOperations.unsafeWrap(payload), Map.of(), null);
  }

  /**
   * A message without a key.
   *
   * @param payload text, sent as UTF-8
   * @return a message
   */
  public static Message of(String payload) {
    return new Message(ByteString.EMPTY, ByteString.copyFromUtf8(payload), Map.of(), null);
  }

  /**
   * A message with a key: those with equal keys share a partition and keep their order.
   *
   * @param key text, sent as UTF-8
   * @param payload text, sent as UTF-8
   * @return a message
   */
  public static Message of(String key, String payload) {
    return new Message(
        ByteString.copyFromUtf8(key), ByteString.copyFromUtf8(payload), Map.of(), null);
  }

  /**
   * A message with everything.
   *
   * @return a builder of an empty message
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * What messages are routed and ordered by.
   *
   * @return empty for none
   */
  public ByteString key() {
    return key;
  }

  /**
   * The content.
   *
   * @return may be empty
   */
  public ByteString payload() {
    return payload;
  }

  /**
   * Application and tracing metadata.
   *
   * @return text by name
   */
  public Map<String, String> headers() {
    return headers;
  }

  /**
   * When the event happened, by the producer's clock.
   *
   * @return null for none
   */
  public Instant eventTime() {
    return eventTime;
  }

  /** Puts a message together. */
  public static final class Builder {
    private ByteString key = ByteString.EMPTY;
    private ByteString payload = ByteString.EMPTY;
    private final Map<String, String> headers = new LinkedHashMap<>();
    private Instant eventTime;

    private Builder() {}

    /**
     * Messages of one topic with equal keys share a partition and keep their order.
     *
     * @param text sent as UTF-8; at most 1 KiB
     * @return this
     */
    public Builder key(String text) {
      return key(ByteString.copyFromUtf8(text));
    }

    /**
     * Messages of one topic with equal keys share a partition and keep their order.
     *
     * @param bytes at most 1 KiB
     * @return this
     */
    public Builder key(byte[] bytes) {
      return key(UnsafeByteOperations.unsafeWrap(bytes));
    }

    /**
     * Messages of one topic with equal keys share a partition and keep their order.
     *
     * @param bytes at most 1 KiB
     * @return this
     */
    public Builder key(ByteString bytes) {
      this.key = Objects.requireNonNull(bytes, "key");
      return this;
    }

    /**
     * The content.
     *
     * @param text sent as UTF-8
     * @return this
     */
    public Builder payload(String text) {
      return payload(ByteString.copyFromUtf8(text));
    }

    /**
     * The content.
     *
     * @param bytes anything
     * @return this
     */
    public Builder payload(byte[] bytes) {
      return payload(UnsafeByteOperations.unsafeWrap(bytes));
    }

    /**
     * The content.
     *
     * @param bytes anything
     * @return this
     */
    public Builder payload(ByteString bytes) {
      this.payload = Objects.requireNonNull(bytes, "payload");
      return this;
    }

    /**
     * Adds a header: {@code traceparent}, {@code content-type}, …
     *
     * @param name names that begin with {@code sluice-} are the broker's own
     * @param value any text
     * @return this
     */
    public Builder header(String name, String value) {
      headers.put(Objects.requireNonNull(name, "name"), Objects.requireNonNull(value, "value"));
      return this;
    }

    /**
     * Adds headers.
     *
     * @param more text by name
     * @return this
     */
    public Builder headers(Map<String, String> more) {
      more.forEach(this::header);
      return this;
    }

    /**
     * When the event happened. The broker does not read it.
     *
     * @param time by the producer's clock, or null for none
     * @return this
     */
    public Builder eventTime(Instant time) {
      this.eventTime = time;
      return this;
    }

    /**
     * Makes the message.
     *
     * @return a message that no longer changes
     */
    public Message build() {
      Map<String, String> copy = headers.isEmpty() ? Map.of() : Map.copyOf(headers);
      return new Message(key, payload, copy, eventTime);
    }
  }
}
