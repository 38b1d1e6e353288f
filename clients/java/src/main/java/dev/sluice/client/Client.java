package dev.sluice.client;

import dev.sluice.v1.AdminGrpc;
import dev.sluice.v1.BrokerGrpc;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ClientInterceptors;
import io.grpc.ConnectivityState;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.ChannelOption;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A connection to a broker. The client creates producers and consumers, and has the generated stubs
 * for all other calls. Thread-safe.
 */
public final class Client implements AutoCloseable {
  private static final int CONNECT_TIMEOUT_MS = 5_000;

  /** How long `close` waits for the broker to end the streams of consumers. */
  private static final long LEAVE_TIMEOUT_MS = 1_000;

  private final ManagedChannel channel;
  private final Executor executor;

  /** Null if the user of the client gave an executor. */
  private final @Nullable ExecutorService ownExecutor;

  private final ScheduledThreadPoolExecutor timer;
  private final ThreadFactory lastResort = daemons("sluice-late-");
  private final long callTimeoutMs;
  private final ConnectionWatch watch;

  /** The producers and consumers that have not ended. */
  private final Set<Endable> open = ConcurrentHashMap.newKeySet();

  /** A producer or consumer, which ends with its client. */
  interface Endable {
    void end(SluiceException error);
  }

  Client(ClientBuilder settings) {
    if (settings.executor == null) {
      ownExecutor = Executors.newCachedThreadPool(daemons("sluice-"));
      executor = ownExecutor;
    } else {
      ownExecutor = null;
      executor = settings.executor;
    }
    timer = new ScheduledThreadPoolExecutor(1, daemons("sluice-timer-"));
    timer.setRemoveOnCancelPolicy(true);
    timer.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
    callTimeoutMs = settings.callTimeoutMs;
    TlsOptions tls = settings.tls;
    ChannelCredentials credentials =
        tls == null ? InsecureChannelCredentials.create() : tls.toCredentials();
    NettyChannelBuilder builder =
        NettyChannelBuilder.forTarget(settings.target, credentials)
            .flowControlWindow(settings.windowBytes)
            .maxInboundMessageSize(settings.maxReceiveBytes)
            // Pings detect a connection that died without a reset after these times.
            .keepAliveTime(20, TimeUnit.SECONDS)
            .keepAliveTimeout(10, TimeUnit.SECONDS)
            .keepAliveWithoutCalls(true)
            .withOption(ChannelOption.CONNECT_TIMEOUT_MILLIS, CONNECT_TIMEOUT_MS)
            .executor(executor);
    if (tls != null && tls.serverName() != null) builder.overrideAuthority(tls.serverName());
    Map<String, String> metadata = Map.copyOf(settings.metadata);
    Supplier<String> token = settings.token;
    if (token != null) {
      builder.intercept(new CallMetadata(() -> withToken(metadata, token.get()), executor));
    } else if (!metadata.isEmpty()) {
      builder.intercept(new CallMetadata(() -> metadata, executor));
    }
    channel = builder.build();
    watch = new ConnectionWatch(this, channel, settings);
    watch.start();
  }

  /**
   * Settings of a client.
   *
   * @param target the address of the broker: {@code host:port}, or any name that gRPC resolves
   * @return a builder
   */
  public static ClientBuilder builder(String target) {
    return new ClientBuilder(target);
  }

  /**
   * A client in plaintext with the defaults. It connects with its first call. If the broker can't
   * be reached, that call fails with UNAVAILABLE.
   *
   * @param target the address of the broker: {@code host:port}, or any name that gRPC resolves
   * @return a client, to be closed by the caller
   */
  public static Client connect(String target) {
    return builder(target).build();
  }

  /**
   * Settings of a producer of one topic.
   *
   * @param topic the name of the topic; the broker creates a topic that does not exist, unless
   *     auto-create is off
   * @return a builder
   */
  public ProducerBuilder producer(String topic) {
    return new ProducerBuilder(this, topic);
  }

  /**
   * Settings of a consumer of one subscription.
   *
   * @param topic the name of the topic; the broker creates a topic that does not exist, unless
   *     auto-create is off
   * @param subscription the name of the subscription, which is durable; the broker creates it if it
   *     does not exist. The consumers of a subscription share its messages
   * @return a builder
   */
  public ConsumerBuilder consumer(String topic, String subscription) {
    return new ConsumerBuilder(this, topic, subscription);
  }

  /**
   * The stub for administration: topics, subscriptions, and inspection. Unary calls have the
   * deadline of the client. They throw {@code StatusRuntimeException}, which {@link
   * SluiceException#from} converts.
   *
   * @return the generated blocking stub
   */
  public AdminGrpc.AdminBlockingStub admin() {
    return AdminGrpc.newBlockingStub(withDeadline());
  }

  /**
   * The stub for messages, for calls that producers and consumers do not make.
   *
   * @return the generated stub; its unary calls have the deadline of the client
   */
  public BrokerGrpc.BrokerStub broker() {
    return BrokerGrpc.newStub(withDeadline());
  }

  /**
   * The channel, for other kinds of stubs.
   *
   * @return a channel that sends the metadata of the client with every call
   */
  public Channel channel() {
    return channel;
  }

  /**
   * Closes the connection, and the producers and consumers that still use it: messages without a
   * receipt fail with {@code CLOSED}, and consumers leave their subscriptions if the broker answers
   * within a second. Close producers and consumers first. A second call does nothing.
   */
  @Override
  public void close() {
    for (Endable each : List.copyOf(open)) each.end(SluiceException.closed("the client"));
    watch.close();
    channel.shutdown();
    try {
      channel.awaitTermination(LEAVE_TIMEOUT_MS, TimeUnit.MILLISECONDS);
      channel.shutdownNow();
      channel.awaitTermination(5, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      channel.shutdownNow();
      Thread.currentThread().interrupt();
    }
    timer.shutdown();
    if (ownExecutor != null) ownExecutor.shutdown();
  }

  BrokerGrpc.BrokerBlockingStub blockingBroker() {
    return BrokerGrpc.newBlockingStub(withDeadline());
  }

  /**
   * Runs a task that may call code of the user. If the executor is shut down, the task runs in a
   * new thread, so that waiting futures still complete.
   */
  void execute(Runnable task) {
    try {
      executor.execute(task);
    } catch (RejectedExecutionException shutDown) {
      lastResort.newThread(task).start();
    }
  }

  /** Runs a task later. Does not run it after the client is closed. */
  void after(long delayMs, Runnable task) {
    try {
      Future<?> unused = timer.schedule(task, delayMs, TimeUnit.MILLISECONDS);
    } catch (RejectedExecutionException closed) {
      // `close` has ended all producers and consumers.
      return;
    }
  }

  /**
   * Creates a stream whose listener is called in the thread of the connection, so it must not
   * block.
   */
  <I, O> ClientCall<I, O> newStream(MethodDescriptor<I, O> method) {
    CallOptions options =
        CallOptions.DEFAULT.withExecutor(Runnable::run).withOnReadyThreshold(1024 * 1024);
    return channel.newCall(method, options);
  }

  /**
   * Connects now. Otherwise gRPC waits for up to two minutes after a failure, and fails every call
   * until then.
   */
  void retryConnection() {
    channel.resetConnectBackoff();
  }

  /** Reports that a producer or a consumer tries again. */
  void retrying(String what, String topic, SluiceException error, long waitMs) {
    watch.retrying(what, topic, error, waitMs);
  }

  /** Whether there is a connection: requests that were sent may have reached the broker. */
  boolean isConnected() {
    return channel.getState(false) == ConnectivityState.READY;
  }

  void opened(Endable one) {
    open.add(one);
  }

  void ended(Endable one) {
    open.remove(one);
  }

  private Channel withDeadline() {
    return ClientInterceptors.intercept(
        channel,
        new ClientInterceptor() {
          @Override
          public <I, O> ClientCall<I, O> interceptCall(
              MethodDescriptor<I, O> method, CallOptions options, Channel next) {
            boolean isBounded =
                method.getType() != MethodDescriptor.MethodType.UNARY
                    || options.getDeadline() != null;
            return next.newCall(
                method,
                isBounded
                    ? options
                    : options.withDeadlineAfter(callTimeoutMs, TimeUnit.MILLISECONDS));
          }
        });
  }

  private static Map<String, String> withToken(Map<String, String> metadata, String token) {
    Map<String, String> all = new HashMap<>(metadata);
    all.put("authorization", "Bearer " + token);
    return all;
  }

  private static ThreadFactory daemons(String prefix) {
    AtomicInteger count = new AtomicInteger();
    return task -> {
      Thread thread = new Thread(task, prefix + count.incrementAndGet());
      thread.setDaemon(true);
      return thread;
    };
  }
}
