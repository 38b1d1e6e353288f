package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.FieldMask;
import dev.sluice.v1.BacklogLimit;
import dev.sluice.v1.DeleteTopicRequest;
import dev.sluice.v1.Durability;
import dev.sluice.v1.ErrorReason;
import dev.sluice.v1.GetMessageRequest;
import dev.sluice.v1.GetMessageResponse;
import dev.sluice.v1.Topic;
import dev.sluice.v1.UpdateTopicRequest;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Producers against a real broker. */
@Timeout(120)
class ProducerTest {
  private static Client client;

  @BeforeAll
  static void connect() {
    client = Client.connect(BrokerProcess.shared().address());
  }

  @AfterAll
  static void disconnect() {
    client.close();
  }

  @Test
  void receiptsSayWhereEachMessageIs() {
    String topic = Topics.create(client, 4);
    List<CompletableFuture<Receipt>> receipts = new ArrayList<>();
    try (Producer producer = client.producer(topic).batchMaxMessages(50).open()) {
      for (int i = 0; i < 300; i++) {
        Message.Builder message = Message.builder().payload("message " + i);
        if (i % 3 > 0) message.key("key-" + i % 7);
        receipts.add(producer.send(message.build()));
      }
    }
    Set<String> places = new HashSet<>();
    for (int i = 0; i < 300; i++) {
      Receipt receipt = receipts.get(i).join();
      assertFalse(receipt.isDuplicate());
      assertEquals(Durability.DURABILITY_SYNCED, receipt.durability());
      assertTrue(places.add(receipt.partition() + "/" + receipt.offset()));
      if (i % 30 == 0) assertEquals("message " + i, payloadAt(topic, receipt));
    }
  }

  @Test
  void receiptsAreRightWhenTheTopicHasGrownMeanwhile() {
    String topic = Topics.create(client, 2);
    try (Producer producer = client.producer(topic).open()) {
      producer.send(Message.of("key", "before")).join();
      client
          .admin()
          .updateTopic(
              UpdateTopicRequest.newBuilder()
                  .setTopic(Topic.newBuilder().setName(topic).setPartitionCount(8))
                  .setUpdateMask(FieldMask.newBuilder().addPaths("partition_count"))
                  .build());
      List<CompletableFuture<Receipt>> receipts = new ArrayList<>();
      for (int i = 0; i < 40; i++)
        receipts.add(producer.send(Message.of("key-" + i, "message " + i)));
      for (int i = 0; i < 40; i++)
        assertEquals("message " + i, payloadAt(topic, receipts.get(i).join()));
    }
  }

  @Test
  void sendsToThePartitionThatWasChosen() {
    String topic = Topics.create(client, 4);
    try (Producer producer = client.producer(topic).partition(3).open()) {
      assertEquals(3, producer.send(Message.of("any", "where")).join().partition());
      assertEquals(3, producer.send(Message.of("any")).join().partition());
    }
  }

  @Test
  void aRefusedBatchFailsAloneAndThoseBehindItGoOn() {
    String topic = Topics.create(client, 1);
    List<CompletableFuture<Receipt>> receipts = new ArrayList<>();
    try (Producer producer = client.producer(topic).batchMaxMessages(1).open()) {
      for (int i = 0; i < 20; i++) {
        Message.Builder message = Message.builder().payload(Integer.toString(i));
        if (i == 5 || i == 6 || i == 12) message.header("sluice-mine", "no");
        receipts.add(producer.send(message.build()));
      }
    }
    List<String> stored = new ArrayList<>();
    for (int i = 0; i < 20; i++) {
      if (i == 5 || i == 6 || i == 12) {
        SluiceException error = errorOf(receipts.get(i));
        assertEquals(Status.Code.INVALID_ARGUMENT, error.code());
        assertEquals(ErrorReason.ERROR_REASON_RESERVED_HEADER, error.errorReason());
      } else {
        receipts.get(i).join();
        stored.add(Integer.toString(i));
      }
    }
    assertEquals(stored, Topics.read(client, topic));
  }

  @Test
  void aRequestThatTheBrokerDoesNotEvenReadFailsAlone() {
    String topic = Topics.create(client, 1);
    try (Producer producer = client.producer(topic).open()) {
      producer.send(Message.of("before")).join();
      CompletableFuture<Receipt> huge = producer.send(Message.of(new byte[8 * 1024 * 1024]));
      CompletableFuture<Receipt> behind = producer.send(Message.of("behind"));
      behind.join();
      assertEquals(ErrorReason.ERROR_REASON_REQUEST_TOO_LARGE, errorOf(huge).errorReason());
    }
    assertEquals(List.of("before", "behind"), Topics.read(client, topic));
  }

  @Test
  void aNamedProducerGoesOnWhereTheLastOneEndedAndFencesIt() {
    String topic = Topics.create(client, 1);
    Producer old = client.producer(topic).producerId("importer").open();
    assertEquals(0, old.lastSequence());
    old.send(Message.of("1")).join();
    old.send(Message.of("2")).join();
    try (Producer next = client.producer(topic).producerId("importer").open()) {
      assertEquals(2, next.lastSequence());
      next.send(Message.of("3")).join();
      SluiceException error = errorOf(old.send(Message.of("too late")));
      assertEquals(ErrorReason.ERROR_REASON_PRODUCER_FENCED, error.errorReason());
      assertEquals("PRODUCER_FENCED", errorOf(old.send(Message.of("too late, too"))).reason());
      old.close();
      assertEquals(3, next.lastSequence());
    }
    assertEquals(List.of("1", "2", "3"), Topics.read(client, topic));
  }

  @Test
  void aProducerWhoseTopicIsDeletedIsOver() {
    String topic = Topics.create(client, 1);
    try (Producer producer = client.producer(topic).open()) {
      producer.send(Message.of("before")).join();
      client.admin().deleteTopic(DeleteTopicRequest.newBuilder().setName(topic).build());
      assertEquals("TOPIC_DELETED", errorOf(producer.send(Message.of("after"))).reason());
      assertEquals("TOPIC_DELETED", errorOf(producer.send(Message.of("after"))).reason());
    }
  }

  @Test
  void waitsOrFailsWhileTheBufferIsFull() throws InterruptedException {
    String topic = fullTopic(BacklogLimit.WhenFull.WHEN_FULL_BLOCK);
    Producer failing =
        client.producer(topic).bufferMaxBytes(1_000).whenFull(ProducerBuilder.WhenFull.FAIL).open();
    CompletableFuture<Receipt> taken = failing.send(Message.of(new byte[2_000]));
    SluiceException error = errorOf(failing.send(Message.of("no room")));
    assertEquals(SluiceException.BUFFER_FULL, error.reason());
    assertEquals(Status.Code.RESOURCE_EXHAUSTED, error.code());

    Producer waiting = client.producer(topic).bufferMaxBytes(1_000).open();
    CompletableFuture<Receipt> first = waiting.send(Message.of(new byte[2_000]));
    Thread[] senders = new Thread[3];
    List<CompletableFuture<Receipt>> sent = new ArrayList<>();
    for (int i = 0; i < senders.length; i++) {
      senders[i] =
          new Thread(
              () -> {
                CompletableFuture<Receipt> receipt = waiting.send(Message.of(new byte[2_000]));
                synchronized (sent) {
                  sent.add(receipt);
                }
              });
      senders[i].start();
    }
    for (Thread sender : senders)
      Topics.await("a blocked sender", () -> sender.getState() == Thread.State.WAITING);
    assertFalse(first.isDone());

    try (Consumer consumer = client.consumer(topic, "s").build()) {
      consumer.start(delivery -> {});
      taken.join();
      first.join();
      for (Thread sender : senders) sender.join();
      for (CompletableFuture<Receipt> receipt : sent) receipt.join();
    }
    failing.close();
    waiting.close();
  }

  @Test
  void anInterruptEndsTheWaitForRoom() throws InterruptedException {
    Producer producer =
        client
            .producer(fullTopic(BacklogLimit.WhenFull.WHEN_FULL_BLOCK))
            .bufferMaxBytes(100)
            .open();
    CompletableFuture<Receipt> taken = producer.send(Message.of(new byte[200]));
    CompletableFuture<SluiceException> refusal = new CompletableFuture<>();
    Thread sender =
        new Thread(
            () -> {
              refusal.complete(errorOf(producer.send(Message.of("no room"))));
              producer.close();
            });
    sender.start();
    Topics.await("a blocked sender", () -> sender.getState() == Thread.State.WAITING);
    sender.interrupt();
    assertEquals(Status.Code.CANCELLED, refusal.join().code());
    // The thread is still interrupted, so `close` does not wait for the broker.
    sender.join();
    assertEquals(SluiceException.CLOSED, errorOf(taken).reason());
  }

  @Test
  void retriesWhatAFullBacklogRefuses() {
    String topic = fullTopic(BacklogLimit.WhenFull.WHEN_FULL_REJECT);
    try (Producer producer = client.producer(topic).open();
        Consumer consumer = client.consumer(topic, "s").build()) {
      CompletableFuture<Receipt> receipt = producer.send(Message.of("retried"));
      CompletableFuture<Void> flushed = producer.flush();
      assertFalse(flushed.isDone());
      consumer.start(delivery -> {});
      flushed.join();
      assertTrue(receipt.isDone());
      assertEquals(false, receipt.join().isDuplicate());
    }
  }

  @Test
  void givesUpAfterTheRetryTimeoutAndGoesOn() {
    String topic = fullTopic(BacklogLimit.WhenFull.WHEN_FULL_BLOCK);
    try (Producer producer = client.producer(topic).retryTimeoutMs(2_000).open()) {
      SluiceException error = errorOf(producer.send(Message.of("given up")));
      assertEquals(SluiceException.RETRY_TIMEOUT, error.reason());
      try (Consumer consumer = client.consumer(topic, "s").build()) {
        consumer.start(delivery -> {});
        Topics.await("an empty backlog", () -> Topics.backlogOf(client, topic) == 0);
      }
      producer.send(Message.of("behind")).join();
    }
    assertEquals(
        List.of("behind"),
        Topics.read(client, topic).stream().filter(text -> text.length() < 20).toList());
  }

  @Test
  void flushDoesNotWaitForTheLinger() {
    String topic = Topics.create(client, 1);
    try (Producer producer = client.producer(topic).lingerMs(3_600_000).open()) {
      CompletableFuture<Receipt> receipt = producer.send(Message.of("lingers"));
      producer.flush().join();
      assertTrue(receipt.isDone());
      assertTrue(producer.flush().isDone());
    }
  }

  @Test
  void closeSendsWhatWaitsAndTakesNothingMore() {
    String topic = Topics.create(client, 1);
    Producer producer = client.producer(topic).lingerMs(3_600_000).open();
    CompletableFuture<Receipt> receipt = producer.send(Message.of("last"));
    producer.close();
    assertTrue(receipt.isDone());
    assertEquals(SluiceException.CLOSED, errorOf(producer.send(Message.of("too late"))).reason());
    producer.close();
  }

  @Test
  void closingTheClientEndsItsProducers() {
    String topic = fullTopic(BacklogLimit.WhenFull.WHEN_FULL_BLOCK);
    Client other = Client.connect(BrokerProcess.shared().address());
    Producer producer = other.producer(topic).open();
    CompletableFuture<Receipt> receipt = producer.send(Message.of("held"));
    other.close();
    assertEquals(SluiceException.CLOSED, errorOf(receipt).reason());
    producer.close();
  }

  @Test
  void aNameThatTheBrokerRefusesIsSaidAtOpening() {
    SluiceException error =
        assertThrows(SluiceException.class, () -> client.producer("no/name").open());
    assertEquals(ErrorReason.ERROR_REASON_INVALID_NAME, error.errorReason());
    assertEquals("topic", error.fieldViolations().get(0).field());
    assertNotEquals("", error.getMessage());
    assertThrows(IllegalArgumentException.class, () -> client.producer("t").maxInFlight(0));
  }

  /** A topic that accepts no message until its subscription has settled the messages in it. */
  private static String fullTopic(BacklogLimit.WhenFull whenFull) {
    BacklogLimit limit = BacklogLimit.newBuilder().setMaxMessages(1).setWhenFull(whenFull).build();
    String topic =
        Topics.create(client, Topic.newBuilder().setPartitionCount(1).setBacklogLimit(limit));
    Topics.subscribe(client, topic, dev.sluice.v1.Ordering.ORDERING_PARTITION);
    Topics.publish(client, topic, Message.of("what fills the backlog"));
    return topic;
  }

  private static String payloadAt(String topic, Receipt receipt) {
    GetMessageResponse found =
        client
            .admin()
            .getMessage(
                GetMessageRequest.newBuilder()
                    .setTopic(topic)
                    .setPartition(receipt.partition())
                    .setOffset(receipt.offset())
                    .build());
    return found.getRun().getMessages(0).getPayload().toStringUtf8();
  }

  static SluiceException errorOf(CompletableFuture<?> future) {
    CompletionException thrown =
        assertThrows(
            CompletionException.class, () -> future.orTimeout(60, TimeUnit.SECONDS).join());
    return SluiceException.from(thrown);
  }
}
