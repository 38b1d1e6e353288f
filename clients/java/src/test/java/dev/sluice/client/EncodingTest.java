package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.Timestamp;
import dev.sluice.v1.ConsumeResponse;
import dev.sluice.v1.Heartbeat;
import dev.sluice.v1.MessageRun;
import dev.sluice.v1.OffsetRange;
import dev.sluice.v1.PublishStreamRequest;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** The hand-written encoding and decoding, compared with the generated code. */
class EncodingTest {
  private static final Instant BEFORE_THE_EPOCH = Instant.parse("1969-12-31T23:59:59.999999999Z");

  @Test
  void writesRequestsAsGeneratedCodeReadsThem() throws IOException {
    List<Message> messages =
        List.of(
            Message.of(""),
            Message.of("key", "payload"),
            Message.of(new byte[300]),
            Message.builder()
                .header("", "no name")
                .header("имя", "значение ✓")
                .eventTime(BEFORE_THE_EPOCH)
                .build());
    Batch batch = new Batch(1, 1);
    for (Message message : messages)
      batch.add(message, MessageWriter.sizeOf(message), new CompletableFuture<>());
    PublishStreamRequest head =
        PublishStreamRequest.newBuilder().setTopic("orders").setBatchId(7).setPartition(0).build();
    PublishRequest request = new PublishRequest(head, batch.buffer(), batch.byteLength());

    InputStream stream = PublishRequest.METHOD.streamRequest(request);
    int length = stream.available();
    ByteArrayOutputStream drained = new ByteArrayOutputStream();
    assertEquals(length, ((io.grpc.Drainable) stream).drainTo(drained));
    PublishStreamRequest read = PublishStreamRequest.parseFrom(drained.toByteArray());
    assertEquals(
        read, PublishStreamRequest.parseFrom(PublishRequest.METHOD.streamRequest(request)));
    assertEquals(head, read.toBuilder().clearMessages().build());
    assertEquals(messages.size(), read.getMessagesCount());
    for (int i = 0; i < messages.size(); i++) {
      assertEquals(messages.get(i).key(), read.getMessages(i).getKey());
      assertEquals(messages.get(i).payload(), read.getMessages(i).getPayload());
      assertEquals(messages.get(i).headers(), read.getMessages(i).getHeadersMap());
    }
    Timestamp time = read.getMessages(3).getEventTime();
    assertEquals(BEFORE_THE_EPOCH, Instant.ofEpochSecond(time.getSeconds(), time.getNanos()));
  }

  @Test
  void readsResponsesAsGeneratedCodeWritesThem() throws IOException {
    MessageRun.Builder run =
        MessageRun.newBuilder()
            .setPartition(3)
            .setFirstOffset(1L << 40)
            .setProducerId("producer")
            .setAttempt(2)
            .setPublishTime(Timestamp.newBuilder().setSeconds(5).setNanos(6));
    for (int i = 0; i < 100; i++) run.addMessages(message(i));
    ConsumeResponse response =
        ConsumeResponse.newBuilder()
            .addRuns(run)
            .addRuns(MessageRun.newBuilder().setPartition(1).addMessages(message(7)))
            .addRevoked(OffsetRange.newBuilder().setLastOffset(9))
            .setHeartbeat(Heartbeat.newBuilder().setBacklogMessageCount(4))
            .build();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    response.writeTo(bytes);
    // Skips a field of a later version.
    CodedOutputStream out = CodedOutputStream.newInstance(bytes);
    out.writeString(99, "news");
    out.flush();

    ConsumeFrame frame = ConsumeFrame.parse(bytes.toByteArray());
    assertEquals(4, frame.rest().getHeartbeat().getBacklogMessageCount());
    assertEquals(response.getRevokedList(), frame.rest().getRevokedList());
    assertEquals(2, frame.runs().size());
    assertEquals(100, frame.runs().get(0).count());
    Delivery delivery = new Delivery(null, frame.runs().get(0), 99);
    assertEquals(3, delivery.partition());
    assertEquals((1L << 40) + 99, delivery.offset());
    assertEquals(2, delivery.attempt());
    assertEquals("producer", delivery.producerId());
    assertEquals(Instant.ofEpochSecond(5, 6), delivery.publishTime());
    assertEquals(ByteString.copyFromUtf8("key-99"), delivery.key());
    assertEquals(ByteString.copyFromUtf8("payload-99"), delivery.payload());
    assertEquals(Map.of("index", "99"), delivery.headers());
    assertNull(delivery.eventTime());
  }

  private static dev.sluice.v1.Message message(int index) {
    return dev.sluice.v1.Message.newBuilder()
        .setKey(ByteString.copyFromUtf8("key-" + index))
        .setPayload(ByteString.copyFromUtf8("payload-" + index))
        .putHeaders("index", Integer.toString(index))
        .build();
  }
}
