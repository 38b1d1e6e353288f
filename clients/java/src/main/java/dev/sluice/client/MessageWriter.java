package dev.sluice.client;

import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.Timestamp;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Instant;
import java.util.Map;

/**
 * Encodes messages as field 15 of a request, into the buffer of their batch. A generated object for
 * each message would cost more than all the other work of sending it.
 */
final class MessageWriter {
  private static final int MESSAGES_FIELD = 15;
  private static final int KEY_FIELD = 1;
  private static final int PAYLOAD_FIELD = 2;
  private static final int HEADERS_FIELD = 3;
  private static final int EVENT_TIME_FIELD = 4;

  private MessageWriter() {}

  /** The size of the encoded message, without tag and length. */
  static int sizeOf(Message message) {
    int size = 0;
    if (!message.key().isEmpty())
      size += CodedOutputStream.computeBytesSize(KEY_FIELD, message.key());
    if (!message.payload().isEmpty())
      size += CodedOutputStream.computeBytesSize(PAYLOAD_FIELD, message.payload());
    for (Map.Entry<String, String> header : message.headers().entrySet()) {
      int entry = entrySizeOf(header);
      size += 1 + CodedOutputStream.computeUInt32SizeNoTag(entry) + entry;
    }
    if (message.eventTime() != null)
      size +=
          CodedOutputStream.computeMessageSize(EVENT_TIME_FIELD, toTimestamp(message.eventTime()));
    return size;
  }

  /** The size of a message of this size, with its tag and length. */
  static int sizeInBatch(int size) {
    return 1 + CodedOutputStream.computeUInt32SizeNoTag(size) + size;
  }

  /** Writes `sizeInBatch(size)` bytes. */
  static void write(Message message, int size, byte[] buffer, int at) {
    try {
      CodedOutputStream out = CodedOutputStream.newInstance(buffer, at, sizeInBatch(size));
      out.writeTag(MESSAGES_FIELD, 2);
      out.writeUInt32NoTag(size);
      if (!message.key().isEmpty()) out.writeBytes(KEY_FIELD, message.key());
      if (!message.payload().isEmpty()) out.writeBytes(PAYLOAD_FIELD, message.payload());
      for (Map.Entry<String, String> header : message.headers().entrySet()) {
        out.writeTag(HEADERS_FIELD, 2);
        out.writeUInt32NoTag(entrySizeOf(header));
        out.writeString(1, header.getKey());
        out.writeString(2, header.getValue());
      }
      if (message.eventTime() != null)
        out.writeMessage(EVENT_TIME_FIELD, toTimestamp(message.eventTime()));
      out.checkNoSpaceLeft();
    } catch (IOException e) {
      throw new UncheckedIOException("the computed size of a message is wrong", e);
    }
  }

  private static int entrySizeOf(Map.Entry<String, String> header) {
    return CodedOutputStream.computeStringSize(1, header.getKey())
        + CodedOutputStream.computeStringSize(2, header.getValue());
  }

  static Timestamp toTimestamp(Instant time) {
    return Timestamp.newBuilder()
        .setSeconds(time.getEpochSecond())
        .setNanos(time.getNano())
        .build();
  }
}
