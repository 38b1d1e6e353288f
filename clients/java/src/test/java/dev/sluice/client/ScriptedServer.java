package dev.sluice.client;

import dev.sluice.v1.AdminGrpc;
import dev.sluice.v1.BrokerGrpc;
import dev.sluice.v1.ConsumeRequest;
import dev.sluice.v1.ConsumeResponse;
import dev.sluice.v1.GetProducerRequest;
import dev.sluice.v1.GetProducerResponse;
import dev.sluice.v1.GetServerInfoRequest;
import dev.sluice.v1.GetServerInfoResponse;
import dev.sluice.v1.GetSubscriptionRequest;
import dev.sluice.v1.GetSubscriptionResponse;
import dev.sluice.v1.GetTopicRequest;
import dev.sluice.v1.GetTopicResponse;
import dev.sluice.v1.OffsetRange;
import dev.sluice.v1.OpenProducerRequest;
import dev.sluice.v1.OpenProducerResponse;
import dev.sluice.v1.Ordering;
import dev.sluice.v1.PublishError;
import dev.sluice.v1.PublishStreamRequest;
import dev.sluice.v1.PublishStreamResponse;
import dev.sluice.v1.Subscription;
import dev.sluice.v1.Topic;
import io.grpc.ForwardingServerCallListener;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A server whose answers a test scripts. It records the metadata of calls, never answers
 * GetServerInfo, and accepts only small requests.
 */
final class ScriptedServer implements AutoCloseable {
  static final int MAX_REQUEST_BYTES = 64 * 1024;

  /** The metadata of each call, in order. */
  final LinkedBlockingQueue<Metadata> calls = new LinkedBlockingQueue<>();

  /** Completes when a call is cancelled. */
  final CompletableFuture<Void> cancelled = new CompletableFuture<>();

  /** This many batches are received, and neither stored nor answered. */
  final AtomicInteger lostCount = new AtomicInteger();

  /** This many streams are refused with their first batch, without a reason of the broker. */
  final AtomicInteger refusedStreams = new AtomicInteger();

  /** The number of messages of each stored batch. */
  final LinkedBlockingQueue<Integer> batches = new LinkedBlockingQueue<>();

  private boolean isHeld;
  private final List<Runnable> heldAnswers = new ArrayList<>();
  private final Server server;
  private final AtomicLong storedSequence = new AtomicLong();
  private final AtomicLong epoch = new AtomicLong();

  /** The errors of OpenProducer, in order. Then it answers. */
  final LinkedBlockingQueue<Status> refusedOpenings = new LinkedBlockingQueue<>();

  /** The errors of GetProducer, in order. Then it answers. */
  final LinkedBlockingQueue<Status> refusedPositions = new LinkedBlockingQueue<>();

  /** Each GetProducer request. */
  final LinkedBlockingQueue<GetProducerRequest> askedPositions = new LinkedBlockingQueue<>();

  private volatile CompletableFuture<Void> mayAnswerPositions =
      CompletableFuture.completedFuture(null);

  /** Each batch, in the order of arrival. */
  final LinkedBlockingQueue<PublishStreamRequest> requests = new LinkedBlockingQueue<>();

  /** The errors of batches, in order. Then batches are stored. */
  final LinkedBlockingQueue<PublishError> refusedBatches = new LinkedBlockingQueue<>();

  /** The errors of Consume, in order. Then a stream is served. */
  final LinkedBlockingQueue<Status> refusedSessions = new LinkedBlockingQueue<>();

  /** The errors of GetSubscription, in order. Then it answers. */
  final LinkedBlockingQueue<Status> refusedSubscriptions = new LinkedBlockingQueue<>();

  /** How the first Consume ended: true by its half-close, false by a reset. */
  final CompletableFuture<Boolean> hasLeft = new CompletableFuture<>();

  /** Consume is unimplemented while this is false. */
  volatile boolean isConsumable;

  /** The requests of Consume. */
  final LinkedBlockingQueue<ConsumeRequest> consumed = new LinkedBlockingQueue<>();

  /** Completes with the answers of the first Consume. */
  final CompletableFuture<StreamObserver<ConsumeResponse>> consumer = new CompletableFuture<>();

  /** OpenProducer is not answered, once `refusedOpenings` is empty. */
  volatile boolean areOpeningsHeld;

  /** Each OpenProducer request. */
  final LinkedBlockingQueue<OpenProducerRequest> openings = new LinkedBlockingQueue<>();

  ScriptedServer() {
    try {
      server =
          NettyServerBuilder.forPort(0)
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

  private static boolean takeOne(AtomicInteger count) {
    return count.getAndUpdate(before -> Math.max(0, before - 1)) > 0;
  }

  /** GetProducer is not answered until the future is completed. */
  CompletableFuture<Void> holdPositions() {
    CompletableFuture<Void> released = new CompletableFuture<>();
    mayAnswerPositions = released;
    return released;
  }

  /** Batches are stored and not answered, until `goOn`. */
  synchronized void hold() {
    isHeld = true;
  }

  synchronized void goOn() {
    isHeld = false;
    heldAnswers.forEach(Runnable::run);
    heldAnswers.clear();
  }

  private synchronized void answer(Runnable answer) {
    if (isHeld) heldAnswers.add(answer);
    else answer.run();
  }

  @Override
  public void close() {
    server.shutdownNow();
  }

  private final class Metadatas implements ServerInterceptor {
    @Override
    public <I, O> ServerCall.Listener<I> interceptCall(
        ServerCall<I, O> call, Metadata headers, ServerCallHandler<I, O> next) {
      calls.add(headers);
      return new ForwardingServerCallListener.SimpleForwardingServerCallListener<>(
          next.startCall(call, headers)) {
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
    public void getSubscription(
        GetSubscriptionRequest request, StreamObserver<GetSubscriptionResponse> observer) {
      Status refused = refusedSubscriptions.poll();
      if (refused != null) {
        observer.onError(refused.asRuntimeException());
        return;
      }
      Subscription.Builder subscription =
          Subscription.newBuilder().setOrdering(Ordering.ORDERING_NONE);
      observer.onNext(GetSubscriptionResponse.newBuilder().setSubscription(subscription).build());
      observer.onCompleted();
    }

    @Override
    public void getServerInfo(
        GetServerInfoRequest request, StreamObserver<GetServerInfoResponse> observer) {
      // Never answers: the call of the client exceeds its deadline.
    }

    @Override
    public void getTopic(GetTopicRequest request, StreamObserver<GetTopicResponse> observer) {
      observer.onNext(
          GetTopicResponse.newBuilder().setTopic(Topic.newBuilder().setPartitionCount(1)).build());
      observer.onCompleted();
    }
  }

  /** A topic with one partition, whose messages are durable. */
  private final class Broker extends BrokerGrpc.BrokerImplBase {
    @Override
    public void openProducer(
        OpenProducerRequest request, StreamObserver<OpenProducerResponse> observer) {
      openings.add(request);
      Status refused = refusedOpenings.poll();
      if (refused != null) {
        observer.onError(refused.asRuntimeException());
        return;
      }
      // Does not answer: the call of the client exceeds its deadline.
      if (areOpeningsHeld) return;
      observer.onNext(
          OpenProducerResponse.newBuilder()
              .setEpoch(epoch.incrementAndGet())
              .setLastSequence(storedSequence.get())
              .build());
      observer.onCompleted();
    }

    @Override
    public void getProducer(
        GetProducerRequest request, StreamObserver<GetProducerResponse> observer) {
      askedPositions.add(request);
      Status refused = refusedPositions.poll();
      if (refused != null) {
        observer.onError(refused.asRuntimeException());
        return;
      }
      mayAnswerPositions.thenRun(
          () -> {
            observer.onNext(
                GetProducerResponse.newBuilder()
                    .setEpoch(epoch.get())
                    .setLastSequence(storedSequence.get())
                    .build());
            observer.onCompleted();
          });
    }

    @Override
    public StreamObserver<ConsumeRequest> consume(StreamObserver<ConsumeResponse> observer) {
      if (!isConsumable) return super.consume(observer);
      Status refused = refusedSessions.poll();
      if (refused != null) {
        observer.onError(refused.asRuntimeException());
        return ignored();
      }
      consumer.complete(observer);
      return new StreamObserver<>() {
        @Override
        public void onNext(ConsumeRequest request) {
          consumed.add(request);
        }

        @Override
        public void onError(Throwable cancelled) {
          hasLeft.complete(false);
        }

        @Override
        public void onCompleted() {
          hasLeft.complete(true);
          observer.onCompleted();
        }
      };
    }

    private <T> StreamObserver<T> ignored() {
      return new StreamObserver<>() {
        @Override
        public void onNext(T request) {
          // The stream is over.
        }

        @Override
        public void onError(Throwable cancelled) {
          // The stream is over.
        }

        @Override
        public void onCompleted() {
          // The stream is over.
        }
      };
    }

    @Override
    public StreamObserver<PublishStreamRequest> publishStream(
        StreamObserver<PublishStreamResponse> observer) {
      return new StreamObserver<>() {
        @Override
        public void onNext(PublishStreamRequest request) {
          requests.add(request);
          if (takeOne(lostCount)) {
            return;
          }
          if (takeOne(refusedStreams)) {
            observer.onError(
                Status.RESOURCE_EXHAUSTED.withDescription("rate limit").asRuntimeException());
            return;
          }
          PublishError refused = refusedBatches.poll();
          if (refused != null) {
            observer.onNext(
                PublishStreamResponse.newBuilder()
                    .setBatchId(request.getBatchId())
                    .setError(refused)
                    .build());
            return;
          }
          long first = storedSequence.getAndAdd(request.getMessagesCount());
          OffsetRange range =
              OffsetRange.newBuilder()
                  .setFirstOffset(first)
                  .setLastOffset(first + request.getMessagesCount() - 1)
                  .build();
          PublishStreamResponse answer =
              PublishStreamResponse.newBuilder()
                  .setBatchId(request.getBatchId())
                  .addRanges(range)
                  .build();
          answer(() -> observer.onNext(answer));
          batches.add(request.getMessagesCount());
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
