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
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * One connection to a broker. It creates producers and consumers, and has the generated stubs of
 * all other calls. Thread-safe.
 */
public final class Client implements AutoCloseable {
  private static final int CONNECT_TIMEOUT_MS = 5_000;

  /** How long `close` waits for the broker to end the streams of consumers. */
  private static final long LEAVE_TIMEOUT_MS = 1_000;

  private final ManagedChannel channel;
  private final Executor executor;

  /** Null where the executor is the caller's. */
  private final ExecutorService ownExecutor;

  private final ScheduledThreadPoolExecutor timer;
  private final ThreadFactory lastResort = daemons("sluice-late-");
  private final long callTimeoutMs;
  private final ConnectionWatch watch;

  /** Producers and consumers that are not over. */
  private final Set<Endable> open = ConcurrentHashMap.newKeySet();

  /** What ends with its client. */
  interface Endable {
    void end(SluiceException error);
  }

  Client(ClientBuilder settings) {
    ownExecutor =
        settings.executor == null ? Executors.newCachedThreadPool(daemons("sluice-")) : null;
    executor = settings.executor == null ? ownExecutor : settings.executor;
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
    if (settings.token != null) {
      builder.intercept(
          new CallMetadata(() -> withToken(metadata, settings.token.get()), executor));
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
   * @param target of the broker: {@code host:port}, or any name that gRPC resolves
   * @return a builder
   */
  public static ClientBuilder builder(String target) {
    return new ClientBuilder(target);
  }

  /**
   * A client in plaintext with the defaults. It connects with its first call. If the broker can't
   * be reached, that call fails with UNAVAILABLE.
   *
   * @param target of the broker: {@code host:port}, or any name that gRPC resolves
   * @return a client, to be closed by the caller
   */
  public static Client connect(String target) {
    return builder(target).build();
  }

  /**
   * Settings of a producer of messages for one topic.
   *
   * @param topic is made with defaults when it is not there, unless the broker is told not to
   * @return a builder
   */
  public ProducerBuilder producer(String topic) {
    return new ProducerBuilder(this, topic);
  }

  /**
   * Settings of a consumer of one subscription.
   *
   * @param topic is made with defaults when it is not there, unless the broker is told not to
   * @param subscription a durable name; consumers of one subscription share its messages. Made when
   *     it is not there
   * @return a builder
   */
  public ConsumerBuilder consumer(String topic, String subscription) {
    return new ConsumerBuilder(this, topic, subscription);
  }

  /**
   * The control plane: topics, subscriptions, and looking inside. Calls that answer once have the
   * client's deadline. What they throw is a {@code StatusRuntimeException}: {@link
   * SluiceException#from} reads it.
   *
   * @return the generated blocking stub
   */
  public AdminGrpc.AdminBlockingStub admin() {
    return AdminGrpc.newBlockingStub(withDeadline());
  }

  /**
   * The data plane, for what producers and consumers do not do.
   *
   * @return the generated stub; calls that answer once have the client's deadline
   */
  public BrokerGrpc.BrokerStub broker() {
    return BrokerGrpc.newStub(withDeadline());
  }

  /**
   * The connection itself, for stubs of other kinds.
   *
   * @return a channel that sends the client's metadata with every call
   */
  public Channel channel() {
    return channel;
  }

  /**
   * Ends the connection, and what still uses it: messages without a receipt fail with {@code
   * CLOSED}, and consumers leave the broker in good order, if it answers within a second. Close
   * producers and consumers first. Harmless twice.
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
   * Runs what may call the user's code. An executor that takes nothing any more must not swallow
   * the end of what waits.
   */
  void execute(Runnable task) {
    try {
      executor.execute(task);
    } catch (RejectedExecutionException shutDown) {
      lastResort.newThread(task).start();
    }
  }

  /** Runs a task later; never after the client is closed. */
  void after(long delayMs, Runnable task) {
    try {
      timer.schedule(task, delayMs, TimeUnit.MILLISECONDS);
    } catch (RejectedExecutionException closed) {
      // `close` has ended everything that waits for it.
      return;
    }
  }

  /** A stream whose events come in the thread of the connection: its listener must not block. */
  <I, O> ClientCall<I, O> newStream(MethodDescriptor<I, O> method) {
    CallOptions options =
        CallOptions.DEFAULT.withExecutor(Runnable::run).withOnReadyThreshold(1024 * 1024);
    return channel.newCall(method, options);
  }

  /**
   * Tries to connect now: after a failure gRPC would wait for up to two minutes, and fail every
   * call meanwhile.
   */
  void retryConnection() {
    channel.resetConnectBackoff();
  }

  /** Says that a producer or a consumer tries again. */
  void retrying(String what, String topic, SluiceException error, long waitMs) {
    watch.retrying(what, topic, error, waitMs);
  }

  /** What was sent may have arrived. */
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
