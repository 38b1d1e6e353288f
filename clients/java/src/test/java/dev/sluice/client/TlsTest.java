package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sluice.v1.GetServerInfoRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A broker behind a proxy that terminates TLS and asks for the certificate of the client. */
@Timeout(120)
class TlsTest {
  @TempDir static Path directory;
  private static TlsProxy proxy;

  @BeforeAll
  static void start() throws Exception {
    openssl(
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
        "/CN=authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem");
    certify("broker.test");
    certify("client.test");
    openssl(
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
        "/CN=stranger",
        "-keyout",
        "stranger.key",
        "-out",
        "stranger.pem");
    proxy =
        new TlsProxy(
            BrokerProcess.shared().address(),
            file("broker.test.pem"),
            file("broker.test.key"),
            file("ca.pem"));
  }

  @AfterAll
  static void stop() {
    proxy.close();
  }

  @Test
  void publishesAndConsumes() throws InterruptedException {
    try (Client client =
        connect(
            trusting("ca.pem")
                .clientCertificate(pem("client.test.pem"), pem("client.test.key"))
                .serverName("broker.test"))) {
      String topic = Topics.create(client, 1);
      Topics.publish(client, topic, Message.of("secret"));
      try (Consumer consumer = client.consumer(topic, "s").build()) {
        Delivery delivery = consumer.receive();
        assertEquals("secret", delivery.payload().toStringUtf8());
        assertTrue(delivery.ack().join());
      }
    }
  }

  @Test
  void refusesWhomItDoesNotKnowAndIsRefusedWithoutACertificate() {
    assertRefused(
        trusting("stranger.pem")
            .clientCertificate(pem("client.test.pem"), pem("client.test.key"))
            .serverName("broker.test"));
    assertRefused(
        trusting("ca.pem")
            .clientCertificate(pem("client.test.pem"), pem("client.test.key"))
            .serverName("other.test"));
    assertRefused(trusting("ca.pem").serverName("broker.test"));
    assertRefused(TlsOptions.create().serverName("broker.test"));
  }

  @Test
  void saysSoWhenAKeyCanNotBeRead() {
    TlsOptions options =
        trusting("ca.pem")
            .clientCertificate(pem("client.test.pem"), "no key".getBytes(StandardCharsets.UTF_8));
    assertThrows(IllegalArgumentException.class, () -> connect(options));
  }

  private static void assertRefused(TlsOptions options) {
    try (Client client = connect(options)) {
      StatusRuntimeException thrown =
          assertThrows(
              StatusRuntimeException.class,
              () -> client.admin().getServerInfo(GetServerInfoRequest.getDefaultInstance()));
      assertEquals(Status.Code.UNAVAILABLE, thrown.getStatus().getCode());
    }
  }

  private static Client connect(TlsOptions options) {
    return Client.builder(proxy.address()).tls(options).build();
  }

  private static TlsOptions trusting(String ca) {
    return TlsOptions.create().ca(pem(ca));
  }

  private static void certify(String name) throws IOException, InterruptedException {
    Files.writeString(directory.resolve(name + ".ext"), "subjectAltName=DNS:" + name);
    openssl(
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=" + name,
        "-keyout",
        name + ".key",
        "-out",
        name + ".csr");
    openssl(
        "x509",
        "-req",
        "-in",
        name + ".csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "1",
        "-extfile",
        name + ".ext",
        "-out",
        name + ".pem");
  }

  private static void openssl(String... arguments) throws IOException, InterruptedException {
    openssl(directory, arguments);
  }

  static void openssl(Path directory, String... arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of("openssl"));
    command.addAll(List.of(arguments));
    Process process =
        new ProcessBuilder(command).directory(directory.toFile()).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), output);
  }

  private static Path file(String name) {
    return directory.resolve(name);
  }

  private static byte[] pem(String name) {
    try {
      return Files.readAllBytes(file(name));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
