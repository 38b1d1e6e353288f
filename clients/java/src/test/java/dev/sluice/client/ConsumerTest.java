package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sluice.v1.DeadLetterPolicy;
import dev.sluice.v1.DeleteSubscriptionRequest;
import dev.sluice.v1.Ordering;
import dev.sluice.v1.RetryPolicy;
import dev.sluice.v1.Subscription;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Consumers against a real broker. */
@Timeout(30)
class ConsumerTest {
  private static Client client;

  @BeforeAll
  static void connect() {
    client = Client.connect(BrokerProcess.shared().address());
  }

  @AfterAll
  static void disconnect() {
    client.close();
  }

  /** Messages that are their number, with keys where there are some. */
  private static void publishNumbers(String topic, int count, int keyCount) {
    Message[] messages = new Message[count];
    for (int i = 0; i < count; i++) {
      String text = Integer.toString(i);
      messages[i] = keyCount == 0 ? Message.of(text) : Message.of("key-" + i % keyCount, text);
    }
    Topics.publish(client, topic, messages);
  }

  private static int numberOf(Delivery delivery) {
    return Integer.parseInt(delivery.payload().toStringUtf8());
  }

  private static Consumer consumer(String topic) {
    return client.consumer(topic, "s").build();
  }

  /** Short backoffs. */
  private static Subscription.Builder quick(String topic) {
    RetryPolicy retry = RetryPolicy.newBuilder().setMinBackoff(Topics.millis(10)).setMaxBackoff(Topics.millis(20)).build();
    return Subscription.newBuilder().setTopic(topic).setRetry(retry);
  }

  @Test
  void aHandlerGetsEverythingAndToReturnAcknowledges() throws Exception {
    String topic = Topics.create(client, 1);
    Instant eventTime = Instant.ofEpochSecond(1_700_000_000, 123_456_789);
    String trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    try (Producer producer = client.producer(topic).producerId("till-4").open()) {
      producer.send(Message.builder().key("anna").payload("two").header("traceparent", trace).eventTime(eventTime).build()).join();
    }
    CompletableFuture<List<Object>> got = new CompletableFuture<>();
    try (Consumer consumer = consumer(topic)) {
      consumer.run(d -> got.complete(List.of(d.topic(), d.partition(), d.offset(), d.attempt(), d.producerId(), d.key().toStringUtf8(),
          d.payload().toStringUtf8(), d.headers(), d.eventTime(), d.publishTime().isAfter(eventTime))));
      assertEquals(
          List.of(topic, 0, 0L, 1, "till-4", "anna", "two", Map.of("traceparent", trace), eventTime, true), got.get());
    }
    assertEquals(0, Topics.backlogOf(client, topic));
  }

  @Test
  void orderIsThatOfEachPartitionWhateverTheConcurrency() throws Exception {
    checkOrder(Ordering.ORDERING_PARTITION, 4, Delivery::partition);
  }

  @Test
  void orderIsThatOfEachKeyInOnePartition() throws Exception {
    checkOrder(Ordering.ORDERING_KEY, 1, delivery -> delivery.key().toStringUtf8());
  }

  private static void checkOrder(Ordering ordering, int partitionCount, java.util.function.Function<Delivery, Object> laneOf)
      throws Exception {
    int count = 2_000;
    String topic = Topics.create(client, partitionCount);
    Topics.subscribe(client, topic, ordering);
    publishNumbers(topic, count, 7);
    Map<Object, Integer> last = new ConcurrentHashMap<>();
    Map<Object, AtomicInteger> running = new ConcurrentHashMap<>();
    AtomicInteger running_ = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    List<String> problems = Collections.synchronizedList(new ArrayList<>());
    CountDownLatch left = new CountDownLatch(count);
    try (Consumer consumer = client.consumer(topic, "s").concurrency(4).build()) {
      consumer.run(delivery -> {
        Object lane = laneOf.apply(delivery);
        most.accumulateAndGet(running_.incrementAndGet(), Math::max);
        if (running.computeIfAbsent(lane, any -> new AtomicInteger()).incrementAndGet() > 1) problems.add("two at once for " + lane);
        Integer before = last.put(lane, numberOf(delivery));
        if (before != null && before >= numberOf(delivery)) problems.add(before + " before " + numberOf(delivery));
        // Long enough for others to come in between.
        Thread.sleep(0, 50_000);
        running.get(lane).decrementAndGet();
        running_.decrementAndGet();
        left.countDown();
      });
      left.await();
    }
    assertEquals(List.of(), problems);
    assertTrue(most.get() > 1 && most.get() <= 4, most + " at once");
    assertEquals(0, Topics.backlogOf(client, topic));
  }

  @Test
  void behindAFailureNothingIsHandledBeforeItComesAgain() throws Exception {
    String topic = Topics.create(client, 1);
    Topics.subscribe(client, quick(topic));
    publishNumbers(topic, 50, 0);
    List<String> handled = Collections.synchronizedList(new ArrayList<>());
    CountDownLatch done = new CountDownLatch(1);
    try (Consumer consumer = consumer(topic)) {
      consumer.run(delivery -> {
        handled.add(numberOf(delivery) + "#" + delivery.attempt());
        if (numberOf(delivery) == 3 && delivery.attempt() == 1) {
          delivery.nack(Duration.ofMillis(100), "later");
        } else if (numberOf(delivery) == 5 && delivery.attempt() < 3) {
          throw new IllegalStateException("not yet");
        }
        if (numberOf(delivery) == 49) done.countDown();
      });
      done.await();
    }
    List<String> expected = new ArrayList<>(List.of("0#1", "1#1", "2#1", "3#1", "3#2", "4#1", "5#1", "5#2", "5#3"));
    for (int i = 6; i < 50; i++) expected.add(i + "#1");
    assertEquals(expected, handled);
  }

  @Test
  void theLastAttemptGoesToTheDeadLettersAndWhatIsBehindGoesOn() throws Exception {
    String topic = Topics.create(client, 1);
    Topics.subscribe(client, quick(topic).setDeadLetter(DeadLetterPolicy.newBuilder().setMaxAttempts(2)));
    publishNumbers(topic, 10, 0);
    List<String> handled = Collections.synchronizedList(new ArrayList<>());
    CountDownLatch done = new CountDownLatch(1);
    try (Consumer consumer = consumer(topic)) {
      consumer.run(delivery -> {
        handled.add(numberOf(delivery) + "#" + delivery.attempt());
        if (numberOf(delivery) == 1) throw new IllegalStateException("never");
        if (numberOf(delivery) == 2) assertTrue(delivery.deadLetter("hopeless") != null);
        if (numberOf(delivery) == 9) done.countDown();
      });
      done.await();
    }
    assertEquals(List.of("0#1", "1#1", "1#2", "2#1", "3#1", "4#1", "5#1", "6#1", "7#1", "8#1", "9#1"), handled);
    Topics.await("both are dead letters", () -> Topics.deadLettersOf(client, topic) == 2);
  }

  @Test
  void leasesAreExtendedWhileAHandlerRuns() throws Exception {
    String topic = Topics.create(client, 1);
    Topics.subscribe(client, quick(topic).setAckDeadline(Topics.millis(300)));
    publishNumbers(topic, 3, 0);
    List<String> handled = Collections.synchronizedList(new ArrayList<>());
    CountDownLatch done = new CountDownLatch(1);
    try (Consumer consumer = consumer(topic)) {
      consumer.run(delivery -> {
        handled.add(numberOf(delivery) + "#" + delivery.attempt());
        // Several leases long.
        if (numberOf(delivery) == 0) Thread.sleep(1_200);
        if (numberOf(delivery) == 2) done.countDown();
      });
      done.await();
    }
    assertEquals(List.of("0#1", "1#1", "2#1"), handled);
  }

  @Test
  void aHandlerIsToldThatItsMessageWasTakenBackAndWhatItSettlesDoesNothing() throws Exception {
    String topic = Topics.create(client, 1);
    Topics.subscribe(client, quick(topic).setAckDeadline(Topics.millis(200)));
    publishNumbers(topic, 1, 0);
    CompletableFuture<Boolean> late = new CompletableFuture<>();
    CompletableFuture<Integer> again = new CompletableFuture<>();
    try (Consumer consumer = client.consumer(topic, "s").extendLeases(false).build()) {
      consumer.run(delivery -> {
        if (delivery.attempt() > 1) {
          again.complete(delivery.attempt());
          return;
        }
        CountDownLatch revoked = new CountDownLatch(1);
        delivery.whenRevoked(revoked::countDown);
        revoked.await();
        assertTrue(delivery.isRevoked());
        delivery.ack().thenAccept(late::complete);
      });
      assertFalse(late.get());
      assertEquals(2, again.get());
    }
  }

  @Test
  void iteratedMessagesAreSettledByTheCallerAndHeldBehindANack() throws Exception {
    String topic = Topics.create(client, 1);
    Topics.subscribe(client, quick(topic));
    publishNumbers(topic, 4, 0);
    try (Consumer consumer = consumer(topic)) {
      Delivery zero = consumer.receive();
      Delivery one = consumer.receive();
      assertTrue(zero.ack().get());
      // Held by the caller: taken back all the same.
      Delivery two = consumer.receive();
      assertTrue(one.nack().get());
      assertFalse(two.ack().get());
      assertTrue(two.isRevoked());
      Map<Integer, Integer> attempts = new HashMap<>();
      for (int expected = 1; expected < 4; expected++) {
        Delivery next = consumer.receive();
        assertEquals(expected, numberOf(next));
        attempts.put(expected, next.attempt());
        assertTrue(next.ack().get());
      }
      assertEquals(Map.of(1, 2, 2, 1, 3, 1), attempts);
      assertNull(consumer.receive(Duration.ofMillis(1)));
    }
    assertEquals(0, Topics.backlogOf(client, topic));
  }

  @Test
  void closeWaitsForHandlersAndGivesBackTheRestUnharmed() throws Exception {
    String topic = Topics.create(client, 1);
    publishNumbers(topic, 20, 0);
    CountDownLatch begun = new CountDownLatch(1);
    CountDownLatch mayEnd = new CountDownLatch(1);
    Consumer consumer = consumer(topic);
    CompletableFuture<Void> ended = consumer.run(delivery -> {
      begun.countDown();
      mayEnd.await();
    });
    begun.await();
    CompletableFuture<Void> closed = CompletableFuture.runAsync(consumer::close);
    assertThrows(java.util.concurrent.TimeoutException.class, () -> closed.get(100, TimeUnit.MILLISECONDS));
    mayEnd.countDown();
    closed.get();
    ended.get();
    assertEquals(19, Topics.backlogOf(client, topic));
    try (Consumer next = consumer(topic)) {
      Delivery first = next.receive();
      assertEquals(1, numberOf(first));
      assertEquals(1, first.attempt());
    }
  }

  @Test
  void endsWithTheErrorThatNoOtherTryMends() {
    String topic = Topics.create(client, 1);
    Topics.subscribe(client, topic, Ordering.ORDERING_PARTITION);
    Consumer consumer = consumer(topic);
    CompletableFuture<Void> ended = consumer.run(delivery -> {});
    Topics.await("the consumer is there", () -> !Topics.consumersOf(client, topic).isEmpty());
    client.admin().deleteSubscription(DeleteSubscriptionRequest.newBuilder().setTopic(topic).setName("s").build());
    CompletionException failed = assertThrows(CompletionException.class, ended::join);
    assertEquals("SUBSCRIPTION_DELETED", SluiceException.from(failed).reason());
    consumer.close();
  }
}
