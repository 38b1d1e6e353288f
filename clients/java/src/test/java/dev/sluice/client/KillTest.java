package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import dev.sluice.v1.ErrorReason;
import dev.sluice.v1.Subscription;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Clients of a broker that is killed with -9 and started again on the same port. */
@Timeout(300)
class KillTest {
  private static final int KILLS = 3;
  private BrokerProcess broker;
  private Client client;

  @BeforeEach
  void start() {
    broker = BrokerProcess.start();
    client = Client.connect(broker.address());
  }

  @AfterEach
  void stop() {
    client.close();
    broker.close();
  }

  @Test
  void aProducerLosesNothingAndStoresNothingTwice() throws IOException, InterruptedException {
    int count = 40_000;
    String topic = Topics.create(client, 4);
    Semaphore stored = new Semaphore(0);
    List<CompletableFuture<Receipt>> receipts = new ArrayList<>();
    CompletableFuture<Void> sending = new CompletableFuture<>();
    Producer producer =
        client.producer(topic).bufferMaxBytes(256 * 1024).batchMaxMessages(200).open();
    new Thread(
            () -> {
              for (Message message : Topics.numbered(count, 31)) {
                CompletableFuture<Receipt> receipt = producer.send(message);
                receipt.thenRun(stored::release);
                receipts.add(receipt);
              }
              sending.complete(null);
            })
        .start();
    for (int kill = 0; kill < KILLS; kill++) {
      assertTrue(stored.tryAcquire(count / (KILLS + 1), 60, TimeUnit.SECONDS), broker.tail());
      broker.restart();
    }
    sending.join();
    producer.close();
    Set<String> places = new HashSet<>();
    for (CompletableFuture<Receipt> each : receipts) {
      Receipt receipt = each.join();
      if (!receipt.isDuplicate())
        assertTrue(places.add(receipt.partition() + "/" + receipt.offset()));
    }
    List<String> log = Topics.read(client, topic);
    assertEquals(count, log.size());
    assertEquals(count, new HashSet<>(log).size());
    int[] lastOfKey = new int[31];
    for (String number : log) {
      int i = Integer.parseInt(number);
      assertTrue(
          i == i % 31 || i == lastOfKey[i % 31] + 31, number + " behind " + lastOfKey[i % 31]);
      lastOfKey[i % 31] = i;
    }
  }

  @Test
  void aProducerDoesNotTakeForItsOwnWhatAnotherOfItsNameStoredWhileItsStreamWasBroken()
      throws IOException {
    String topic = Topics.create(client, 1);
    try (Producer older = client.producer(topic).producerId("till-5").open()) {
      older.send(Message.of("1")).join();
      try (Producer newer = client.producer(topic).producerId("till-5").open()) {
        newer.send(Message.of("2")).join();
        newer.send(Message.of("3")).join();
        broker.kill();
        CompletableFuture<Receipt> late = older.send(Message.of("late"));
        broker.restart();
        assertEquals(
            ErrorReason.ERROR_REASON_PRODUCER_FENCED, ProducerTest.errorOf(late).errorReason());
      }
    }
    assertEquals(List.of("1", "2", "3"), Topics.read(client, topic));
  }

  @Test
  void aConsumerHandlesAllAndNothingAgainThatWasAcknowledgedDurably()
      throws IOException, InterruptedException {
    int count = 30_000;
    String topic = Topics.create(client, 4);
    Topics.publish(client, topic, Topics.numbered(count, 31));
    AtomicIntegerArray handled = new AtomicIntegerArray(count);
    AtomicIntegerArray durable = new AtomicIntegerArray(count);
    LinkedBlockingQueue<String> problems = new LinkedBlockingQueue<>();
    boolean[] isBusy = new boolean[4];
    Semaphore progress = new Semaphore(0);
    try (Consumer consumer =
        client.consumer(topic, "s").concurrency(3).maxOutstandingMessages(500).build()) {
      consumer.start(
          delivery -> {
            int number = Topics.numberOf(delivery);
            synchronized (isBusy) {
              if (isBusy[delivery.partition()])
                problems.add("two handlers at once for partition " + delivery.partition());
              isBusy[delivery.partition()] = true;
            }
            if (durable.get(number) > 0)
              problems.add(number + " came again after its acknowledgement was durable");
            if (handled.getAndIncrement(number) == 0) progress.release();
            synchronized (isBusy) {
              isBusy[delivery.partition()] = false;
            }
            delivery
                .ack()
                .thenAccept(
                    isDurable -> {
                      if (isDurable && durable.incrementAndGet(number) > 1)
                        problems.add(number + " was acknowledged twice");
                    });
          });
      for (int kill = 0; kill <= KILLS; kill++) {
        assertTrue(progress.tryAcquire(count / (KILLS + 1), 60, TimeUnit.SECONDS), broker.tail());
        if (kill < KILLS) broker.restart();
      }
      // A message without a durable acknowledgement is delivered again. An acknowledgement whose
      // answer was lost may be durable.
      Topics.await("an empty backlog", () -> Topics.backlogOf(client, topic) == 0);
    }
    assertEquals(List.of(), List.copyOf(problems));
  }

  @Test
  void aHandlerOfABrokenStreamKeepsItsPartition() throws IOException, InterruptedException {
    String topic = Topics.create(client, 2);
    Topics.subscribe(
        client, Subscription.newBuilder().setTopic(topic).setRetry(Topics.retryAtOnce()));
    Topics.publish(client, topic, Message.of(keyOf(0), "0"), Message.of(keyOf(0), "1"));
    CompletableFuture<Void> began = new CompletableFuture<>();
    CompletableFuture<Void> goOn = new CompletableFuture<>();
    CompletableFuture<Boolean> old = new CompletableFuture<>();
    LinkedBlockingQueue<String> others = new LinkedBlockingQueue<>();
    try (Consumer consumer =
        client
            .consumer(topic, "s")
            .concurrency(4)
            .retryMaxBackoffMs(100)
            .drainTimeoutMs(1_000)
            .build()) {
      consumer.start(
          delivery -> {
            if (began.complete(null)) {
              LeaseTest.revokedOf(delivery).join();
              goOn.join();
              old.complete(delivery.ack().join());
            } else {
              others.add(delivery.partition() + "/" + delivery.offset());
            }
          });
      began.join();
      broker.restart();
      try (Client other = Client.connect(broker.address())) {
        Topics.publish(other, topic, Message.of(keyOf(1), "2"));
        assertEquals("1/0", others.poll(60, TimeUnit.SECONDS));
        Topics.await("the busy partition again", () -> Topics.outstandingOf(other, topic, 0) == 2);
      }
      assertEquals(0, others.size());
      goOn.complete(null);
      assertFalse(old.join());
      assertEquals("0/0", others.poll(60, TimeUnit.SECONDS));
      assertEquals("0/1", others.poll(60, TimeUnit.SECONDS));
    }
  }

  @Test
  void closingWhileTheBrokerIsAwayDoesNotWaitForIt() throws InterruptedException {
    String topic = Topics.create(client, 1);
    Topics.publish(client, topic, Message.of("in hand"));
    Consumer consumer = client.consumer(topic, "s").build();
    Delivery delivery = consumer.receive();
    broker.kill();
    LeaseTest.revokedOf(delivery).join();
    consumer.close();
    assertFalse(delivery.ack().join());
  }

  private static String keyOf(int partition) {
    for (int i = 0; ; i++) {
      String key = Integer.toString(i);
      if (Routing.hashOf(ByteString.copyFromUtf8(key)) % 2 == partition) return key;
    }
  }
}
