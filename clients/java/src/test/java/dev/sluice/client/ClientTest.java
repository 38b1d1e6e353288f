package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.common.util.concurrent.ListenableFuture;
import dev.sluice.v1.AdminGrpc;
import dev.sluice.v1.GetServerInfoRequest;
import dev.sluice.v1.GetServerInfoResponse;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Metadata, deadlines, cancellation, and answers that no broker gives. */
@Timeout(120)
class ClientTest {
  private ScriptedServer server;

  @BeforeEach
  void start() {
    server = new ScriptedServer();
  }

  @AfterEach
  void stop() {
    server.close();
  }

  @Test
  void asksForATokenForEachCall() throws InterruptedException {
    Iterator<String> tokens = List.of("first", "second").iterator();
    try (Client client =
        Client.builder(server.address())
            .metadata("x-tenant", "blue")
            .token(tokens::next)
            .callTimeoutMs(50)
            .build()) {
      for (String expected : List.of("Bearer first", "Bearer second")) {
        assertEquals(Status.Code.DEADLINE_EXCEEDED, codeOfInfo(client));
        Metadata call = nextCall();
        assertEquals(expected, textOf(call, "authorization"));
        assertEquals("blue", textOf(call, "x-tenant"));
      }
      // Calls without a token fail.
      assertEquals(Status.Code.UNAVAILABLE, codeOfInfo(client));
    }
  }

  @Test
  void whatTheTokenIsRefusedForIsTheErrorOfTheCall() {
    try (Client client =
        Client.builder(server.address())
            .token(
                () -> {
                  throw Status.UNAUTHENTICATED.withDescription("logged out").asRuntimeException();
                })
            .build()) {
      assertEquals(
          Status.Code.UNAUTHENTICATED,
          assertThrows(SluiceException.class, () -> client.producer("t").open()).code());
      CompletableFuture<Void> ended = client.consumer("t", "s").build().start(delivery -> {});
      assertEquals(Status.Code.UNAUTHENTICATED, ProducerTest.errorOf(ended).code());
    }
  }

  @Test
  void streamsHaveTheTokenTooAndWhatIsNotThereEndsTheConsumer() throws InterruptedException {
    try (Client client = Client.builder(server.address()).token("fixed").build();
        Consumer consumer = client.consumer("t", "s").build()) {
      assertEquals(
          Status.Code.UNIMPLEMENTED, assertThrows(SluiceException.class, consumer::receive).code());
      assertEquals("Bearer fixed", textOf(nextCall(), "authorization"));
    }
  }

  @Test
  void callsThatAnswerOnceHaveADeadline() {
    try (Client client = Client.builder(server.address()).callTimeoutMs(20).build()) {
      assertEquals(Status.Code.DEADLINE_EXCEEDED, codeOfInfo(client));
      AdminGrpc.AdminBlockingStub own = client.admin().withDeadlineAfter(10, TimeUnit.MILLISECONDS);
      StatusRuntimeException thrown =
          assertThrows(StatusRuntimeException.class, () -> own.getServerInfo(request()));
      assertEquals(Status.Code.DEADLINE_EXCEEDED, thrown.getStatus().getCode());
    }
  }

  @Test
  void aCallThatIsCancelledIsCancelledAtTheServer() throws InterruptedException {
    try (Client client = Client.connect(server.address())) {
      ListenableFuture<GetServerInfoResponse> call =
          AdminGrpc.newFutureStub(client.channel()).getServerInfo(request());
      nextCall();
      call.cancel(true);
      server.cancelled.join();
    }
  }

  @Test
  void closingEndsTheCallsThatAreUnderWay() throws InterruptedException {
    Client client = Client.connect(server.address());
    CompletableFuture<Status.Code> code = CompletableFuture.supplyAsync(() -> codeOfInfo(client));
    nextCall();
    client.close();
    assertEquals(Status.Code.UNAVAILABLE, code.join());
    client.close();
  }

  /** The server ends each stream without a reason. */
  @Test
  void aRequestThatNobodyReadsIsNotRetriedForEver() {
    try (Client client = Client.connect(server.address());
        Producer producer = client.producer("t").producerId("p").batchMaxMessages(1).open()) {
      CompletableFuture<Receipt> before = producer.send(Message.of("before"));
      CompletableFuture<Receipt> huge =
          producer.send(Message.of(new byte[2 * ScriptedServer.MAX_REQUEST_BYTES]));
      CompletableFuture<Receipt> behind = producer.send(Message.of("behind"));
      assertEquals(Status.Code.RESOURCE_EXHAUSTED, ProducerTest.errorOf(huge).code());
      before.join();
      assertEquals(1, behind.join().offset());
    }
  }

  /** The stream ends for a batch that is not the oldest one without an answer. */
  @Test
  void aBatchDoesNotFailForTheOneBehindIt() {
    server.lostCount.set(1);
    try (Client client = Client.connect(server.address());
        Producer producer = client.producer("t").producerId("p").batchMaxMessages(1).open()) {
      CompletableFuture<Receipt> before = producer.send(Message.of("before"));
      CompletableFuture<Receipt> huge =
          producer.send(Message.of(new byte[2 * ScriptedServer.MAX_REQUEST_BYTES]));
      CompletableFuture<Receipt> behind = producer.send(Message.of("behind"));
      assertEquals(0, before.join().offset());
      assertEquals(Status.Code.RESOURCE_EXHAUSTED, ProducerTest.errorOf(huge).code());
      assertEquals(1, behind.join().offset());
    }
  }

  private static Status.Code codeOfInfo(Client client) {
    return SluiceException.from(
            assertThrows(
                StatusRuntimeException.class, () -> client.admin().getServerInfo(request())))
        .code();
  }

  private static GetServerInfoRequest request() {
    return GetServerInfoRequest.getDefaultInstance();
  }

  private Metadata nextCall() throws InterruptedException {
    Metadata call = server.calls.poll(60, TimeUnit.SECONDS);
    assertNotNull(call);
    return call;
  }

  private static String textOf(Metadata metadata, String name) {
    return metadata.get(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER));
  }
}
