package dev.sluice.client;

import dev.sluice.v1.AdminGrpc;
import dev.sluice.v1.BrokerGrpc;
import dev.sluice.v1.GetProducerRequest;
import dev.sluice.v1.GetProducerResponse;
import dev.sluice.v1.GetServerInfoRequest;
import dev.sluice.v1.GetServerInfoResponse;
import dev.sluice.v1.GetTopicRequest;
import dev.sluice.v1.GetTopicResponse;
import dev.sluice.v1.OffsetRange;
import dev.sluice.v1.PublishStreamRequest;
import dev.sluice.v1.PublishStreamResponse;
import dev.sluice.v1.Topic;
import io.grpc.ForwardingServerCallListener;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;

/** A server that does what no broker does: it tells the metadata of calls, never answers GetServerInfo, and reads small requests only. */
final class ScriptedServer implements AutoCloseable {
  static final int MAX_REQUEST_BYTES = 64 * 1024;

  /** Of each call, in their order. */
  final LinkedBlockingQueue<Metadata> calls = new LinkedBlockingQueue<>();
  /** Completes when a call is cancelled. */
  final CompletableFuture<Void> cancelled = new CompletableFuture<>();
  /** Batches that are received, and neither stored nor answered. */
  volatile int lostCount;
  private final Server server;
  private volatile long storedSequence;

  ScriptedServer() {
    try {
      server = NettyServerBuilder.forPort(0)
          .maxInboundMessageSize(MAX_REQUEST_BYTES)
          .intercept(new Metadatas())
          .addService(new Admin())
          .addService(new Broker())
          .build()
          .start();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  String address() {
    return "127.0.0.1:" + server.getPort();
  }

  @Override
  public void close() {
    server.shutdownNow();
  }

  private final class Metadatas implements ServerInterceptor {
    @Override
    public <I, O> ServerCall.Listener<I> interceptCall(ServerCall<I, O> call, Metadata headers, ServerCallHandler<I, O> next) {
      calls.add(headers);
      return new ForwardingServerCallListener.SimpleForwardingServerCallListener<>(next.startCall(call, headers)) {
        @Override
        public void onCancel() {
          cancelled.complete(null);
          super.onCancel();
        }
      };
    }
  }

  private final class Admin extends AdminGrpc.AdminImplBase {
    @Override
    public void getServerInfo(GetServerInfoRequest request, StreamObserver<GetServerInfoResponse> observer) {
      // Whoever asks has to give up by itself.
    }

    @Override
    public void getTopic(GetTopicRequest request, StreamObserver<GetTopicResponse> observer) {
      observer.onNext(GetTopicResponse.newBuilder().setTopic(Topic.newBuilder().setPartitionCount(1)).build());
      observer.onCompleted();
    }
  }

  /** One partition; what it has is durable. */
  private final class Broker extends BrokerGrpc.BrokerImplBase {
    @Override
    public void getProducer(GetProducerRequest request, StreamObserver<GetProducerResponse> observer) {
      observer.onNext(GetProducerResponse.newBuilder().setEpoch(1).setLastSequence(storedSequence).build());
      observer.onCompleted();
    }

    @Override
    public StreamObserver<PublishStreamRequest> publishStream(StreamObserver<PublishStreamResponse> observer) {
      return new StreamObserver<>() {
        @Override
        public void onNext(PublishStreamRequest request) {
          if (lostCount > 0) {
            lostCount--;
            return;
          }
          long first = storedSequence;
          storedSequence += request.getMessagesCount();
          OffsetRange range = OffsetRange.newBuilder().setFirstOffset(first).setLastOffset(storedSequence - 1).build();
          observer.onNext(PublishStreamResponse.newBuilder().setBatchId(request.getBatchId()).addRanges(range).build());
        }

        @Override
        public void onError(Throwable cancelled) {
          // gRPC has ended the call already.
        }

        @Override
        public void onCompleted() {
          observer.onCompleted();
        }
      };
    }
  }
}
