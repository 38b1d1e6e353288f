package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sluice.v1.PublishError;
import dev.sluice.v1.PublishStreamRequest;
import io.grpc.Status;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Batches that expire or are refused, and messages that are gathered meanwhile. */
@Timeout(240)
class ProducerTimeoutTest {
  private static final long TIMEOUT_MS = 2_000;
  private static final long SLACK_MS = 1_000;

  /**
   * A batch expires while its bytes are in a dead connection. The bytes reach the broker later, and
   * are not stored.
   */
  @Test
  void whatWasGivenUpIsNotStoredLater() throws IOException {
    String address = BrokerProcess.shared().address();
    try (HoldingProxy proxy = new HoldingProxy(address);
        Client direct = Client.connect(address);
        Client client = Client.connect(proxy.address())) {
      String topic = Topics.create(direct, 1);
      try (Producer producer =
          client.producer(topic).producerId("p").retryTimeoutMs(3_000).open()) {
        producer.send(Message.of("first")).join();
        proxy.hold();
        CompletableFuture<Receipt> givenUp = producer.send(Message.of("given up"));
        Topics.await("the message is held", () -> proxy.holds("given up"));
        proxy.refuse(true);
        proxy.cut();
        assertEquals(SluiceException.RETRY_TIMEOUT, ProducerTest.errorOf(givenUp).reason());
        proxy.refuse(false);
        // The broker lists the dead stream, and the new stream after its first batch.
        Topics.await("a message on a new stream", () -> isStored(producer, "before"));
        proxy.release("PRODUCER_FENCED").join();
        assertFalse(producer.send(Message.of("next")).join().isDuplicate());
      }
      assertEquals(List.of("first", "before", "next"), Topics.read(direct, topic));
    }
  }

  private static boolean isStored(Producer producer, String text) {
    return producer.send(Message.of(text)).handle((receipt, thrown) -> thrown == null).join();
  }

  /**
   * A batch expires and is stored later, because the broker was only paused. The next batches are
   * stored, too.
   */
  @Test
  void whatWasGivenUpAndStoredIsNotTakenForTheNext() throws Exception {
    try (BrokerProcess broker = BrokerProcess.start();
        Client client = Client.connect(broker.address())) {
      String topic = Topics.create(client, 1);
      try (Producer producer = client.producer(topic).retryTimeoutMs(3_000).open()) {
        producer.send(Message.of("first")).join();
        broker.signal("STOP");
        assertEquals(
            SluiceException.RETRY_TIMEOUT,
            ProducerTest.errorOf(producer.send(Message.of("given up"))).reason());
        broker.signal("CONT");
        Topics.await("a message that is stored", () -> isStored(producer, "again"));
        assertFalse(producer.send(Message.of("next")).join().isDuplicate());
      }
      List<String> stored = Topics.read(client, topic);
      assertEquals("next", stored.get(stored.size() - 1));
    }
  }

  /** The delay of a timer that starts now: a busy machine adds it to every timer. */
  private static CompletableFuture<Long> latenessMs(long afterMs) {
    long began = System.nanoTime();
    return CompletableFuture.supplyAsync(
        () -> TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began) - afterMs,
        CompletableFuture.delayedExecutor(
            afterMs, TimeUnit.MILLISECONDS, task -> new Thread(task).start()));
  }

  /**
   * Whatever the broker does, each message fails about when it expires, and `close` takes no
   * longer.
   */
  @Test
  void eachMessageFailsWhenItsTimeIsOver() throws Exception {
    for (String harm : List.of("STOP", "KILL")) {
      try (BrokerProcess broker = BrokerProcess.start();
          Client client = Client.connect(broker.address())) {
        String topic = Topics.create(client, 1);
        Producer producer =
            client.producer(topic).retryTimeoutMs(TIMEOUT_MS).bufferMaxBytes(100).open();
        producer.send(Message.of("first")).join();
        broker.signal(harm);
        List<CompletableFuture<Void>> senders = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
          long laterMs = i * 700L;
          // The second message and later ones wait for room in the buffer, too.
          senders.add(
              CompletableFuture.runAsync(
                  () -> {
                    CompletableFuture<Long> lateMs = latenessMs(TIMEOUT_MS);
                    long began = System.nanoTime();
                    SluiceException error =
                        ProducerTest.errorOf(producer.send(Message.of(new byte[200])));
                    long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began);
                    assertEquals(SluiceException.RETRY_TIMEOUT, error.reason());
                    boolean isInTime =
                        tookMs >= TIMEOUT_MS - SLACK_MS
                            && tookMs <= TIMEOUT_MS + SLACK_MS + lateMs.join();
                    assertTrue(isInTime, harm + ": failed after " + tookMs + " ms");
                  },
                  CompletableFuture.delayedExecutor(
                      laterMs, TimeUnit.MILLISECONDS, task -> new Thread(task).start())));
        }
        for (CompletableFuture<Void> sender : senders) sender.join();
        producer.send(Message.of("last"));
        CompletableFuture<Long> lateMs = latenessMs(TIMEOUT_MS);
        long began = System.nanoTime();
        producer.close();
        long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - began);
        assertTrue(
            tookMs <= TIMEOUT_MS + SLACK_MS + lateMs.join(),
            harm + ": closed after " + tookMs + " ms");
      }
    }
  }

  /**
   * While the maximum number of batches is under way, messages are gathered, whatever the linger
   * is.
   */
  @Test
  void batchesThatWaitAreMerged() throws InterruptedException {
    try (ScriptedServer server = new ScriptedServer();
        Client client = Client.connect(server.address())) {
      server.hold();
      try (Producer producer = client.producer("t").lingerMs(0).maxInFlight(2).open()) {
        List<CompletableFuture<Receipt>> receipts = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
          receipts.add(producer.send(Message.of("first")));
          assertEquals(1, server.batches.poll(60, TimeUnit.SECONDS));
        }
        for (int i = 0; i < 2_500; i++) receipts.add(producer.send(Message.of("m" + i)));
        server.goOn();
        for (int expected : new int[] {1_000, 1_000, 500})
          assertEquals(expected, server.batches.poll(60, TimeUnit.SECONDS));
        for (CompletableFuture<Receipt> receipt : receipts) receipt.join();
      }
    }
  }

  /** A proxy limits the rate, without a reason of the broker: no message fails. */
  @Test
  void aRateLimitOfAProxyIsWaitedFor() {
    try (ScriptedServer server = new ScriptedServer();
        Client client = Client.connect(server.address())) {
      server.refusedStreams.set(4);
      try (Producer producer =
          client.producer("t").batchMaxMessages(1).retryMinBackoffMs(1).open()) {
        assertEquals(0, producer.send(Message.of("alone")).join().offset());
        List<CompletableFuture<Receipt>> receipts = new ArrayList<>();
        for (int i = 0; i < 10; i++) receipts.add(producer.send(Message.of("m" + i)));
        for (int i = 0; i < 10; i++) assertEquals(i + 1, receipts.get(i).join().offset());
      }
      server.refusedStreams.set(Integer.MAX_VALUE);
      try (Producer producer =
          client.producer("t").retryMinBackoffMs(1).retryMaxBackoffMs(2).open()) {
        assertEquals(
            Status.Code.RESOURCE_EXHAUSTED,
            ProducerTest.errorOf(producer.send(Message.of("never"))).code());
      }
      assertEquals(Integer.MAX_VALUE - 5, server.refusedStreams.get());
    }
  }

  /**
   * A sent batch expires while the client asks the broker for its position. A waiting message must
   * not get the number of that batch within the epoch: the sent copy may still reach the broker,
   * which would take one for the other.
   */
  @Test
  void whatExpiresWhileTheBrokerIsAskedIsFencedBeforeAnotherMessageHasItsNumber()
      throws InterruptedException {
    try (ScriptedServer server = new ScriptedServer();
        Client client = Client.connect(server.address())) {
      server.refusedStreams.set(1);
      CompletableFuture<Void> mayAnswer = server.holdPositions();
      try (Producer producer =
          client
              .producer("t")
              .retryTimeoutMs(3_000)
              .retryMinBackoffMs(1)
              .batchMaxMessages(1)
              .open()) {
        CompletableFuture<Receipt> givenUp = producer.send(Message.of("given up"));
        assertEquals(
            1, server.requests.poll(60, TimeUnit.SECONDS).getProducer().getFirstSequence());
        assertTrue(
            server.askedPositions.poll(60, TimeUnit.SECONDS) != null, "the broker was not asked");
        assertEquals(SluiceException.RETRY_TIMEOUT, ProducerTest.errorOf(givenUp).reason());
        CompletableFuture<Receipt> next = producer.send(Message.of("next"));
        mayAnswer.complete(null);
        assertEquals(0, next.join().offset());
      }
      PublishStreamRequest second = server.requests.poll(60, TimeUnit.SECONDS);
      assertEquals("next", second.getMessages(0).getPayload().toStringUtf8());
      assertEquals(1, second.getProducer().getFirstSequence());
      assertEquals(2, second.getProducer().getEpoch());
      server.openings.remove();
      assertEquals(1, server.openings.remove().getCurrentEpoch());
    }
  }

  /**
   * If the first call for the position fails, a refused batch still fails with the error of its
   * refusal.
   */
  @Test
  void aRefusedBatchFailsWithWhyItWasRefused() {
    try (ScriptedServer server = new ScriptedServer();
        Client client = Client.connect(server.address())) {
      server.refusedBatches.add(
          PublishError.newBuilder()
              .setCode(Status.Code.INVALID_ARGUMENT.value())
              .setReason("REFUSED")
              .build());
      server.refusedPositions.add(Status.UNAVAILABLE.withDescription("not now"));
      try (Producer producer = client.producer("t").retryMinBackoffMs(1).open()) {
        assertEquals(
            "REFUSED", ProducerTest.errorOf(producer.send(Message.of("refused"))).reason());
        assertEquals(0, producer.send(Message.of("behind")).join().offset());
      }
    }
  }
}
