package dev.sluice.client;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Timestamp;
import com.google.protobuf.WireFormat;
import dev.sluice.v1.BrokerGrpc;
import dev.sluice.v1.ConsumeRequest;
import dev.sluice.v1.ConsumeResponse;
import dev.sluice.v1.MessageRun;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.io.IOException;
import java.io.InputStream;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A ConsumeResponse whose messages stay encoded in the received bytes. A generated object for each
 * message would cost more than all the other work of receiving it.
 *
 * @param rest the response without its runs
 * @param runs the runs in their order
 */
record ConsumeFrame(ConsumeResponse rest, List<Run> runs) {
  /** The method Consume with such responses. */
  static final MethodDescriptor<ConsumeRequest, ConsumeFrame> METHOD =
      BrokerGrpc.getConsumeMethod().toBuilder(
              BrokerGrpc.getConsumeMethod().getRequestMarshaller(), new Marshaller())
          .build();

  private static final int RUNS_TAG =
      tag(ConsumeResponse.RUNS_FIELD_NUMBER, WireFormat.WIRETYPE_LENGTH_DELIMITED);
  private static final int PARTITION_TAG =
      tag(MessageRun.PARTITION_FIELD_NUMBER, WireFormat.WIRETYPE_VARINT);
  private static final int FIRST_OFFSET_TAG =
      tag(MessageRun.FIRST_OFFSET_FIELD_NUMBER, WireFormat.WIRETYPE_VARINT);
  private static final int PUBLISH_TIME_TAG =
      tag(MessageRun.PUBLISH_TIME_FIELD_NUMBER, WireFormat.WIRETYPE_LENGTH_DELIMITED);
  private static final int PRODUCER_ID_TAG =
      tag(MessageRun.PRODUCER_ID_FIELD_NUMBER, WireFormat.WIRETYPE_LENGTH_DELIMITED);
  private static final int ATTEMPT_TAG =
      tag(MessageRun.ATTEMPT_FIELD_NUMBER, WireFormat.WIRETYPE_VARINT);
  private static final int DELIVERY_ID_TAG =
      tag(MessageRun.DELIVERY_ID_FIELD_NUMBER, WireFormat.WIRETYPE_VARINT);
  private static final int MESSAGES_TAG =
      tag(MessageRun.MESSAGES_FIELD_NUMBER, WireFormat.WIRETYPE_LENGTH_DELIMITED);

  static ConsumeFrame parse(byte[] bytes) throws IOException {
    CodedInputStream in = CodedInputStream.newInstance(bytes);
    ConsumeResponse.@Nullable Builder rest = null;
    List<Run> runs = new ArrayList<>(2);
    for (int begin = 0, tag = in.readTag();
        tag != 0;
        begin = in.getTotalBytesRead(), tag = in.readTag()) {
      if (tag == RUNS_TAG) {
        int limit = in.pushLimit(in.readRawVarint32());
        runs.add(parseRun(in, bytes));
        in.popLimit(limit);
      } else {
        in.skipField(tag);
        if (rest == null) rest = ConsumeResponse.newBuilder();
        rest.mergeFrom(bytes, begin, in.getTotalBytesRead() - begin);
      }
    }
    return new ConsumeFrame(
        rest == null ? ConsumeResponse.getDefaultInstance() : rest.build(), runs);
  }

  private static Run parseRun(CodedInputStream in, byte[] bytes) throws IOException {
    Run run = new Run(bytes);
    for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
      if (tag == MESSAGES_TAG) {
        int length = in.readRawVarint32();
        int begin = in.getTotalBytesRead();
        in.skipRawBytes(length);
        run.add(begin, begin + length);
      } else if (tag == PARTITION_TAG) {
        run.partition = in.readUInt32();
      } else if (tag == FIRST_OFFSET_TAG) {
        run.firstOffset = in.readUInt64();
      } else if (tag == PUBLISH_TIME_TAG) {
        Timestamp time = Timestamp.parseFrom(in.readByteArray());
        run.publishTime = Instant.ofEpochSecond(time.getSeconds(), time.getNanos());
      } else if (tag == PRODUCER_ID_TAG) {
        run.producerId = in.readStringRequireUtf8();
      } else if (tag == ATTEMPT_TAG) {
        run.attempt = in.readUInt32();
      } else if (tag == DELIVERY_ID_TAG) {
        run.deliveryId = in.readUInt64();
      } else {
        in.skipField(tag);
      }
    }
    return run;
  }

  private static int tag(int field, int wireType) {
    return (field << 3) | wireType;
  }

  private static final class Marshaller implements MethodDescriptor.Marshaller<ConsumeFrame> {
    /** Only for servers in the process of a test, which send no runs. */
    @Override
    public InputStream stream(ConsumeFrame frame) {
      return frame.rest.toByteString().newInput();
    }

    @Override
    public ConsumeFrame parse(InputStream stream) {
      try {
        return ConsumeFrame.parse(stream.readAllBytes());
      } catch (InvalidProtocolBufferException e) {
        throw Status.INTERNAL
            .withDescription("the answer of the broker is not a ConsumeResponse")
            .withCause(e)
            .asRuntimeException();
      } catch (IOException e) {
        throw Status.INTERNAL.withCause(e).asRuntimeException();
      }
    }
  }
}
