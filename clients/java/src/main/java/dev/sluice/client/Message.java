package dev.sluice.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A message for {@link Producer#send}. The client does not copy the arrays that are given to it: do
 * not change them before {@code send} has returned.
 */
public final class Message {
  private final ByteString key;
  private final ByteString payload;
  private final Map<String, String> headers;
  private final @Nullable Instant eventTime;

  private Message(
      ByteString key,
      ByteString payload,
      Map<String, String> headers,
      @Nullable Instant eventTime) {
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
   * A message with a key. Messages with equal keys share a partition and keep their order.
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
   * A builder, for messages with headers or an event time.
   *
   * @return a builder for a message that is empty at first
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * The key, which determines partition and order.
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
   * The time of the event.
   *
   * @return a time of the clock of the producer; null if there is none
   */
  public @Nullable Instant eventTime() {
    return eventTime;
  }

  /** Builds a message. */
  public static final class Builder {
    private ByteString key = ByteString.EMPTY;
    private ByteString payload = ByteString.EMPTY;
    private final Map<String, String> headers = new LinkedHashMap<>();
    private @Nullable Instant eventTime;

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
     * @param name a name; the broker reserves names that begin with {@code sluice-}
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
     * The time of the event. The broker does not read it.
     *
     * @param time a time of the clock of the producer; null for none
     * @return this
     */
    public Builder eventTime(@Nullable Instant time) {
      this.eventTime = time;
      return this;
    }

    /**
     * Builds the message.
     *
     * @return an immutable message
     */
    public Message build() {
      Map<String, String> copy = headers.isEmpty() ? Map.of() : Map.copyOf(headers);
      return new Message(key, payload, copy, eventTime);
    }
  }
}
