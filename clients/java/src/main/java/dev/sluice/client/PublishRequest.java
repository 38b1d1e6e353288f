package dev.sluice.client;

import dev.sluice.v1.BrokerGrpc;
import dev.sluice.v1.ProducerSequence;
import dev.sluice.v1.PublishStreamRequest;
import dev.sluice.v1.PublishStreamResponse;
import io.grpc.Drainable;
import io.grpc.KnownLength;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.SequenceInputStream;

/** A PublishStreamRequest whose messages are encoded. Never compared. */
@SuppressWarnings("ArrayRecordComponent")
record PublishRequest(PublishStreamRequest head, byte[] messages, int messagesLength) {
  /** The method PublishStream with such requests. */
  static final MethodDescriptor<PublishRequest, PublishStreamResponse> METHOD =
      BrokerGrpc.getPublishStreamMethod().toBuilder(
              new Marshaller(), BrokerGrpc.getPublishStreamMethod().getResponseMarshaller())
          .build();

  static PublishRequest of(Batch batch, ProducerBuilder settings, long epoch) {
    ProducerSequence producer =
        ProducerSequence.newBuilder()
            .setProducerId(settings.producerId)
            .setEpoch(epoch)
            .setFirstSequence(batch.firstSequence)
            .build();
    PublishStreamRequest.Builder head =
        PublishStreamRequest.newBuilder()
            .setTopic(settings.topic)
            .setProducer(producer)
            .setBatchId(batch.firstSequence);
    if (settings.partition != null) head.setPartition(settings.partition);
    return new PublishRequest(head.build(), batch.buffer(), batch.byteLength());
  }

  private static final class Marshaller implements MethodDescriptor.Marshaller<PublishRequest> {
    @Override
    public InputStream stream(PublishRequest request) {
      return new Encoded(request.head.toByteArray(), request.messages, request.messagesLength);
    }

    /** Only for servers in the process of a test. */
    @Override
    public PublishRequest parse(InputStream stream) {
      try {
        byte[] all = stream.readAllBytes();
        return new PublishRequest(PublishStreamRequest.getDefaultInstance(), all, all.length);
      } catch (IOException e) {
        throw Status.INTERNAL.withCause(e).asRuntimeException();
      }
    }
  }

  /** The head, followed by the messages. gRPC calls `drainTo`, which needs no copy. */
  private static final class Encoded extends SequenceInputStream implements KnownLength, Drainable {
    private final byte[] head;
    private final byte[] messages;
    private final int messagesLength;

    Encoded(byte[] head, byte[] messages, int messagesLength) {
      super(new ByteArrayInputStream(head), new ByteArrayInputStream(messages, 0, messagesLength));
      this.head = head;
      this.messages = messages;
      this.messagesLength = messagesLength;
    }

    @Override
    public int available() {
      return head.length + messagesLength;
    }

    @Override
    public int drainTo(OutputStream target) throws IOException {
      target.write(head);
      target.write(messages, 0, messagesLength);
      return head.length + messagesLength;
    }
  }
}
