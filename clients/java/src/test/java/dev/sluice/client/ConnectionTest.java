package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.sluice.v1.AdminGrpc;
import dev.sluice.v1.GetTopicRequest;
import dev.sluice.v1.GetTopicResponse;
import dev.sluice.v1.Topic;
import io.grpc.Context;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsServerCredentials;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What goes along with calls, against a server that says what it saw. */
@Timeout(30)
class ConnectionTest {
  private static final Metadata.Key<String> AUTHORIZATION = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
  private static final Metadata.Key<String> TENANT = Metadata.Key.of("x-tenant", Metadata.ASCII_STRING_MARSHALLER);
  private static final String NAME = "broker.internal";

  private final List<String> seen = Collections.synchronizedList(new ArrayList<>());
  private Server server;

  @AfterEach
  void stop() {
    if (server != null) server.shutdownNow();
  }

  /** Answers with the name of the topic; never, where that is `silence`. */
  private final class Admin extends AdminGrpc.AdminImplBase {
    @Override
    public void getTopic(GetTopicRequest request, StreamObserver<GetTopicResponse> answers) {
      if (request.getName().equals("silence")) {
        Context.current().addListener(context -> seen.add("cancelled"), Runnable::run);
        seen.add("in hand");
        return;
      }
      answers.onNext(GetTopicResponse.newBuilder().setTopic(Topic.newBuilder().setName(request.getName())).build());
      answers.onCompleted();
    }
  }

  private final class Watcher implements ServerInterceptor {
    @Override
    public <I, O> ServerCall.Listener<I> interceptCall(ServerCall<I, O> call, Metadata headers, ServerCallHandler<I, O> next) {
      seen.add(headers.get(AUTHORIZATION) + " of " + headers.get(TENANT));
      return next.startCall(call, headers);
    }
  }

  private String serve(ServerCredentials credentials) throws IOException {
    server = NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0), credentials)
        .addService(new Admin())
        .intercept(new Watcher())
        .build()
        .start();
    return "127.0.0.1:" + server.getPort();
  }

  private static String topicThrough(Client client) {
    return client.admin().getTopic(GetTopicRequest.newBuilder().setName("orders").build()).getTopic().getName();
  }

  @Test
  void tokensAreAskedForBeforeEachCall() throws IOException {
    String address = serve(InsecureServerCredentials.create());
    AtomicInteger issued = new AtomicInteger();
    try (Client client = Client.builder(address).metadata("x-tenant", "t").token(() -> "token-" + issued.incrementAndGet()).build()) {
      assertEquals("orders", topicThrough(client));
      topicThrough(client);
    }
    assertEquals(List.of("Bearer token-1 of t", "Bearer token-2 of t"), seen);
  }

  @Test
  void aCallThatTakesTooLongFails() throws IOException {
    String address = serve(InsecureServerCredentials.create());
    try (Client client = Client.builder(address).callTimeoutMs(100).build()) {
      GetTopicRequest silence = GetTopicRequest.newBuilder().setName("silence").build();
      StatusRuntimeException late = assertThrows(StatusRuntimeException.class, () -> client.admin().getTopic(silence));
      assertEquals(Status.Code.DEADLINE_EXCEEDED, SluiceException.from(late).code());
      StatusRuntimeException sooner = assertThrows(
          StatusRuntimeException.class, () -> client.admin().withDeadlineAfter(1, TimeUnit.MILLISECONDS).getTopic(silence));
      assertEquals("DEADLINE_EXCEEDED", SluiceException.from(sooner).reason());
    }
  }

  @Test
  void aCallCanBeCancelled() throws Exception {
    String address = serve(InsecureServerCredentials.create());
    try (Client client = Client.connect(address)) {
      GetTopicRequest silence = GetTopicRequest.newBuilder().setName("silence").build();
      Context.CancellableContext context = Context.current().withCancellation();
      CompletableFuture<Throwable> failed = new CompletableFuture<>();
      Thread caller = new Thread(context.wrap(() -> {
        try {
          client.admin().getTopic(silence);
        } catch (StatusRuntimeException e) {
          failed.complete(e);
        }
      }));
      caller.start();
      Topics.await("the call has come", () -> seen.contains("in hand"));
      context.cancel(null);
      assertEquals(Status.Code.CANCELLED, SluiceException.from(failed.get()).code());
      Topics.await("the broker hears of it", () -> seen.contains("cancelled"));
    }
  }

  @Test
  void speaksTlsTrustsWhomItIsToldToAndShowsItsOwnCertificate() throws Exception {
    Certificate broker = Certificate.create(NAME);
    Certificate till = Certificate.create("till-4");
    String address = serve(TlsServerCredentials.newBuilder()
        .keyManager(new ByteArrayInputStream(broker.pem()), new ByteArrayInputStream(broker.keyPem()))
        .trustManager(new ByteArrayInputStream(till.pem()))
        .clientAuth(TlsServerCredentials.ClientAuth.REQUIRE)
        .build());
    TlsOptions good = TlsOptions.create().ca(broker.pem()).serverName(NAME).clientCertificate(till.pem(), till.keyPem());
    try (Client client = Client.builder(address).tls(good).build()) {
      assertEquals("orders", topicThrough(client));
    }
    List<TlsOptions> bad = List.of(
        TlsOptions.create(),
        TlsOptions.create().ca(broker.pem()).serverName("else.internal").clientCertificate(till.pem(), till.keyPem()),
        TlsOptions.create().ca(till.pem()).serverName(NAME).clientCertificate(till.pem(), till.keyPem()),
        TlsOptions.create().ca(broker.pem()).serverName(NAME));
    for (TlsOptions options : bad) {
      try (Client client = Client.builder(address).tls(options).build()) {
        StatusRuntimeException refused = assertThrows(StatusRuntimeException.class, () -> topicThrough(client));
        assertEquals(Status.Code.UNAVAILABLE, SluiceException.from(refused).code());
      }
    }
  }
}
