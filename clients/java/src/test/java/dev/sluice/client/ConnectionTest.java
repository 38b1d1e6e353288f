package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sluice.client.ConnectionState.Status;
import dev.sluice.v1.GetServerInfoRequest;
import io.grpc.stub.StreamObserver;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * The states of the connection that a client reports, and the time until it notices a dead
 * connection.
 */
@Timeout(120)
class ConnectionTest {
  private final LinkedBlockingQueue<ConnectionState> states = new LinkedBlockingQueue<>();

  private Client connect(String target, TlsOptions tls) {
    ClientBuilder builder = Client.builder(target).onConnectionState(states::add);
    return (tls == null ? builder : builder.tls(tls)).build();
  }

  /** Waits for a state whose cause begins with this text. */
  private ConnectionState until(Status status, String cause) throws InterruptedException {
    for (ConnectionState seen = null; ; ) {
      ConnectionState state = states.poll(30, TimeUnit.SECONDS);
      assertNotNull(state, "never " + status + " " + cause + "; the last was " + seen);
      if (state.status() == status && state.cause().startsWith(cause)) return state;
      seen = state;
    }
  }

  @Test
  void aConsumerReportsThatNothingListensAndGoesOn() throws Exception {
    try (BrokerProcess broker = BrokerProcess.start()) {
      String topic;
      try (Client direct = Client.connect(broker.address())) {
        topic = Topics.create(direct, 1);
        Topics.publish(direct, topic, Message.of("one"));
      }
      broker.kill();
      Client client = connect(broker.address(), null);
      Consumer consumer = client.consumer(topic, "s").build();
      CompletableFuture<Void> handled = new CompletableFuture<>();
      consumer.start(delivery -> handled.complete(null));
      ConnectionState first = states.poll(30, TimeUnit.SECONDS);
      assertEquals(Status.CONNECTING, first.status());
      ConnectionState second = states.poll(30, TimeUnit.SECONDS);
      assertEquals(Status.WAITING, second.status());
      assertEquals("nothing listens at " + broker.address(), second.cause());
      assertNotNull(second.error());
      assertTrue(
          Duration.between(Instant.now(), second.nextAttempt()).toMillis() <= 1_000,
          second.toString());
      until(Status.CONNECTING, "");
      until(Status.WAITING, "nothing listens");
      broker.restart();
      until(Status.READY, "");
      handled.get(30, TimeUnit.SECONDS);
      broker.kill();
      until(Status.WAITING, "the connection to " + broker.address() + " was lost");
      until(Status.WAITING, "nothing listens");
      consumer.close();
      client.close();
      until(Status.CLOSED, "");
    }
  }

  private void assertCause(String target, TlsOptions tls, String cause)
      throws InterruptedException {
    states.clear();
    try (Client client = connect(target, tls);
        Consumer consumer = client.consumer("t", "s").build()) {
      consumer.start(delivery -> {});
      ConnectionState state = until(Status.WAITING, "");
      assertTrue(state.cause().startsWith(cause), state + ", not " + cause);
      until(Status.WAITING, ""); // It goes on trying.
    }
  }

  @Test
  void theCauseOfAFailureIsNamed(@TempDir Path directory) throws Exception {
    String broker = BrokerProcess.shared().address();
    assertCause(
        "no-such-host.invalid:7070", null, "the name no-such-host.invalid cannot be resolved");
    assertCause(broker, TlsOptions.create(), "the broker at " + broker + " does not speak TLS");
    TlsTest.openssl(
        directory,
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=broker.test",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem");
    try (TlsProxy proxy =
        new TlsProxy(
            broker,
            directory.resolve("ca.pem"),
            directory.resolve("ca.key"),
            directory.resolve("ca.pem"))) {
      assertCause(
          proxy.address(),
          null,
          "the broker at " + proxy.address() + " speaks TLS, and this client does not");
      assertCause(
          proxy.address(),
          TlsOptions.create().serverName("broker.test"),
          "the broker's certificate is not trusted: ");
    }
    try (ServerSocket other = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
      Thread mail =
          new Thread(
              () -> {
                try {
                  for (; ; )
                    other
                        .accept()
                        .getOutputStream()
                        .write("220 mail.test ESMTP\r\n".getBytes(StandardCharsets.US_ASCII));
                } catch (java.io.IOException closed) {
                  return;
                }
              });
      mail.start();
      String address = "127.0.0.1:" + other.getLocalPort();
      assertCause(address, null, "what listens at " + address + " does not speak HTTP/2");
    }
  }

  /**
   * With the defaults, producers, consumers and waiting calls notice within 40 s that a connection
   * drops all bytes, and continue over a new connection.
   */
  @Test
  void aDeadConnectionIsNoticed() throws Exception {
    long limitMs = 40_000 + 20_000; // The promise, and slack for a busy machine.
    String address = BrokerProcess.shared().address();
    try (HoldingProxy proxy = new HoldingProxy(address);
        Client direct = Client.connect(address);
        Client client = connect(proxy.address(), null)) {
      String topic = Topics.create(direct, 1);
      LinkedBlockingQueue<String> handled = new LinkedBlockingQueue<>();
      try (Producer producer = client.producer(topic).open();
          Consumer consumer = client.consumer(topic, "s").build()) {
        consumer.start(delivery -> handled.add(delivery.payload().toStringUtf8()));
        producer.send(Message.of("before")).join();
        assertEquals("before", handled.poll(30, TimeUnit.SECONDS));
        states.clear();
        proxy.swallow();
        long began = System.nanoTime();
        CompletableFuture<SluiceException> called = new CompletableFuture<>();
        dev.sluice.v1.AdminGrpc.newStub(client.channel())
            .getServerInfo(
                GetServerInfoRequest.getDefaultInstance(),
                new StreamObserver<>() {
                  @Override
                  public void onNext(dev.sluice.v1.GetServerInfoResponse response) {}

                  @Override
                  public void onError(Throwable thrown) {
                    called.complete(SluiceException.from(thrown));
                  }

                  @Override
                  public void onCompleted() {}
                });
        CompletableFuture<Receipt> sent = producer.send(Message.of("after"));
        ConnectionState lost = states.poll(limitMs, TimeUnit.MILLISECONDS);
        assertNotNull(lost, "the dead connection was not noticed");
        assertEquals("the connection to " + proxy.address() + " was lost", lost.cause());
        assertEquals(io.grpc.Status.Code.UNAVAILABLE, called.get(5, TimeUnit.SECONDS).code());
        sent.get(60, TimeUnit.SECONDS);
        // The first message is delivered again, because its acknowledgement was lost.
        for (String text = ""; !"after".equals(text); ) {
          text = handled.poll(limitMs, TimeUnit.MILLISECONDS);
          assertNotNull(text, "nothing more was handled");
        }
        long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began);
        assertTrue(tookMs <= limitMs, "delivery goes on after " + tookMs + " ms");
      }
    }
  }
}
