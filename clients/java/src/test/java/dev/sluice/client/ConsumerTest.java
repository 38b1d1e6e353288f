package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sluice.v1.DeadLetterPolicy;
import dev.sluice.v1.DeleteSubscriptionRequest;
import dev.sluice.v1.ErrorReason;
import dev.sluice.v1.Ordering;
import dev.sluice.v1.Subscription;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Consumers of a real broker: order, failures, and their end. */
@Timeout(120)
class ConsumerTest {
  private static final String TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  private static Client client;

  @BeforeAll
  static void connect() {
    client = Client.connect(BrokerProcess.shared().address());
  }

  @AfterAll
  static void disconnect() {
    client.close();
  }

  @ParameterizedTest
  @EnumSource(
      value = Ordering.class,
      names = {"ORDERING_PARTITION", "ORDERING_KEY", "ORDERING_NONE"})
  void orderIsKeptWithManyHandlers(Ordering ordering) throws InterruptedException {
    String topic = Topics.create(client, 4);
    Topics.subscribe(client, topic, ordering);
    Message[] messages = Topics.numbered(900, 23);
    // Few messages, so that the first credit of a consumer covers several lanes.
    Topics.publish(client, topic, Arrays.copyOf(messages, 12));
    LaneWatch watch = new LaneWatch(900);
    // The first handlers wait for each other, so that several run at once.
    CountDownLatch together = new CountDownLatch(3);
    try (Consumer consumer = client.consumer(topic, "s").concurrency(8).build()) {
      consumer.start(
          delivery -> {
            String lane =
                switch (ordering) {
                  case ORDERING_PARTITION -> "partition " + delivery.partition();
                  case ORDERING_KEY -> delivery.key().toStringUtf8();
                  default -> delivery.partition() + "/" + delivery.offset();
                };
            watch.begun(lane, Topics.numberOf(delivery));
            together.countDown();
            together.await();
            watch.ended(lane);
          });
      Topics.publish(client, topic, Arrays.copyOfRange(messages, 12, 900));
      assertEquals(List.of(), watch.problemsOnceAllEnded());
    }
    assertTrue(watch.most() >= 3 && watch.most() <= 8, watch.most() + " at once");
    assertEquals(0, Topics.backlogOf(client, topic));
  }

  @ParameterizedTest
  @EnumSource(
      value = Ordering.class,
      names = {"ORDERING_PARTITION", "ORDERING_KEY"})
  void behindAFailedMessageOrderIsKept(Ordering ordering) {
    String topic = Topics.create(client, 1);
    Topics.subscribe(client, topic, ordering);
    Topics.publish(client, topic, Topics.numbered(100, 2));
    List<Integer> handled = Collections.synchronizedList(new ArrayList<>());
    CompletableFuture<Void> all = new CompletableFuture<>();
    try (Consumer consumer = client.consumer(topic, "s").concurrency(4).build()) {
      consumer.start(
          delivery -> {
            int number = Topics.numberOf(delivery);
            // Three messages fail: one with its own delay, one of them twice.
            if (number == 10 && delivery.attempt() == 1) {
              delivery.nack(Duration.ofMillis(80), "later");
              return;
            }
            boolean fails =
                (number == 31 && delivery.attempt() <= 2)
                    || (number == 60 && delivery.attempt() == 1);
            if (fails) throw new IllegalStateException("not yet");
            handled.add(number);
            if (handled.size() == 100) all.complete(null);
          });
      all.join();
    }
    if (ordering == Ordering.ORDERING_PARTITION) {
      for (int i = 0; i < 100; i++) assertEquals(i, handled.get(i));
    } else {
      for (int key = 0; key < 2; key++) {
        int of = key;
        List<Integer> ofKey = handled.stream().filter(number -> number % 2 == of).toList();
        for (int i = 0; i < 50; i++) assertEquals(2 * i + key, ofKey.get(i));
      }
    }
    assertEquals(0, Topics.backlogOf(client, topic));
  }

  @Test
  void aDelayedMessageWaitsAtLeastSoLong() {
    String topic = Topics.create(client, 1);
    Topics.publish(client, topic, Message.of("slow"));
    CompletableFuture<Long> waited = new CompletableFuture<>();
    AtomicLong failedAtNanos = new AtomicLong();
    try (Consumer consumer = client.consumer(topic, "s").build()) {
      consumer.start(
          delivery -> {
            if (delivery.attempt() > 1) {
              waited.complete(System.nanoTime() - failedAtNanos.get());
              return;
            }
            failedAtNanos.set(System.nanoTime());
            delivery.nack(Duration.ofMillis(150), "later");
          });
      assertTrue(waited.join() >= 140_000_000, waited.join() + " ns");
    }
  }

  @Test
  void aDurableAckIsTrueAndTheMessageNeverComesAgain() throws InterruptedException {
    String topic = Topics.create(client, 1);
    Message traced =
        Message.builder()
            .key("k")
            .payload("first")
            .header("traceparent", TRACE)
            .eventTime(Instant.EPOCH)
            .build();
    Topics.publish(client, topic, traced, Message.of("second"));
    try (Consumer first = client.consumer(topic, "s").build()) {
      Delivery delivery = first.receive();
      assertEquals(topic, delivery.topic());
      assertEquals(1, delivery.attempt());
      assertEquals("k", delivery.key().toStringUtf8());
      assertEquals(TRACE, delivery.headers().get("traceparent"));
      assertEquals(Instant.EPOCH, delivery.eventTime());
      assertTrue(Duration.between(delivery.publishTime(), Instant.now()).abs().toMinutes() < 5);
      assertTrue(delivery.ack().join());
      assertFalse(delivery.nack().join());
      assertFalse(delivery.extend(Duration.ofMinutes(1)).join());
    }
    try (Consumer second = client.consumer(topic, "s").build()) {
      Delivery delivery = second.receive();
      assertEquals("second", delivery.payload().toStringUtf8());
      // The first consumer left without settling the message: no attempt is counted.
      assertEquals(1, delivery.attempt());
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void iteratingHoldsWhatIsBehindANack(boolean isEverythingInHand) throws InterruptedException {
    String topic = Topics.create(client, 1);
    Topics.subscribe(
        client, topic, isEverythingInHand ? Ordering.ORDERING_KEY : Ordering.ORDERING_PARTITION);
    Topics.publish(client, topic, Topics.numbered(20, 1));
    List<Integer> received = new ArrayList<>();
    try (Consumer consumer = client.consumer(topic, "s").build()) {
      if (isEverythingInHand) {
        List<Delivery> all = new ArrayList<>();
        for (int i = 0; i < 20; i++) all.add(consumer.receive());
        for (int i = 0; i < 7; i++) received.add(settled(all.get(i)));
        assertTrue(all.get(7).nack(Duration.ZERO, "again").join());
        // `revoked` comes before the answer: a revoked message is not settled.
        for (int i = 8; i < 20; i++) assertTrue(all.get(i).isRevoked());
        assertFalse(all.get(8).ack().join());
      }
      for (Delivery delivery : consumer) {
        if (Topics.numberOf(delivery) == 7 && delivery.attempt() == 1)
          delivery.nack(Duration.ZERO, "again");
        else received.add(settled(delivery));
        if (received.size() == 20) break;
      }
    }
    for (int i = 0; i < 20; i++) assertEquals(i, received.get(i));
  }

  private static int settled(Delivery delivery) {
    assertTrue(
        delivery.ack().join(),
        "message " + delivery.offset() + " was given out although it was taken back");
    return Topics.numberOf(delivery);
  }

  /** Idle consumers share a burst: each of them receives messages. */
  @Test
  void idleWorkersShareABurst() throws InterruptedException {
    int workers = 3;
    int tasks = 24;
    String topic = Topics.create(client, 1);
    Topics.subscribe(client, topic, Ordering.ORDERING_NONE);
    CountDownLatch begun = new CountDownLatch(workers);
    CountDownLatch left = new CountDownLatch(tasks);
    List<Consumer> consumers = new ArrayList<>();
    for (int i = 0; i < workers; i++) {
      AtomicBoolean isFirst = new AtomicBoolean(true);
      Consumer consumer = client.consumer(topic, "s").build();
      consumer.start(
          delivery -> {
            if (isFirst.getAndSet(false)) begun.countDown();
            begun.await(); // No worker goes on before each of them has a task.
            left.countDown();
          });
      consumers.add(consumer);
    }
    Topics.await("all sessions", () -> Topics.consumersOf(client, topic).size() == workers);
    Topics.publish(client, topic, Topics.numbered(tasks, 0));
    assertTrue(left.await(60, TimeUnit.SECONDS));
    consumers.forEach(Consumer::close);
  }

  /**
   * A caller that settles nothing before it has many messages receives them, although the first
   * credit is small.
   */
  @Test
  void manyMessagesCanBeInHand() throws InterruptedException {
    String topic = Topics.create(client, 1);
    Topics.publish(client, topic, Topics.numbered(200, 0));
    try (Consumer consumer = client.consumer(topic, "s").maxOutstandingMessages(150).build()) {
      List<Delivery> all = new ArrayList<>();
      for (int i = 0; i < 150; i++) {
        all.add(consumer.receive(Duration.ofSeconds(60)));
        // Slow processing, so that the credit shrinks.
        if (i == 50) Thread.sleep(1_300);
      }
      // On a busy machine, a late message can be missed: the check is weaker, and does not fail.
      assertNull(consumer.receive(Duration.ofMillis(100)));
      for (Delivery delivery : all) assertTrue(delivery.ack().join());
      assertNotNull(consumer.receive(Duration.ofSeconds(60)));
    }
  }

  /** `run` blocks until the consumer is closed, and throws the error that ended the consumer. */
  @Test
  void runBlocksUntilTheConsumerIsClosed() throws Exception {
    String topic = Topics.create(client, 1);
    Topics.publish(client, topic, Message.of("one"));
    CompletableFuture<Void> handled = new CompletableFuture<>();
    Consumer consumer = client.consumer(topic, "s").build();
    CompletableFuture<Void> ran =
        CompletableFuture.runAsync(
            () -> {
              try {
                consumer.run(delivery -> handled.complete(null));
              } catch (InterruptedException e) {
                throw new AssertionError(e);
              }
            });
    handled.join();
    assertFalse(ran.isDone());
    consumer.close();
    ran.join();

    SluiceException error =
        assertThrows(
            SluiceException.class,
            () -> client.consumer("no/name", "s").build().run(delivery -> {}));
    assertEquals("INVALID_NAME", error.reason());

    CompletableFuture<Boolean> isInterrupted = new CompletableFuture<>();
    Thread thread =
        new Thread(
            () -> {
              try {
                client.consumer(topic, "s").build().run(delivery -> {});
                isInterrupted.complete(false);
              } catch (InterruptedException e) {
                isInterrupted.complete(true);
              }
            });
    thread.start();
    Topics.await("a session", () -> !Topics.consumersOf(client, topic).isEmpty());
    thread.interrupt();
    assertTrue(isInterrupted.join());
    Topics.await("no session", () -> Topics.consumersOf(client, topic).isEmpty());
  }

  @Test
  void whatIsHopelessGoesToTheDeadLetters() {
    String topic = Topics.create(client, 1);
    DeadLetterPolicy twice = DeadLetterPolicy.newBuilder().setMaxAttempts(2).build();
    Topics.subscribe(
        client,
        Subscription.newBuilder()
            .setTopic(topic)
            .setDeadLetter(twice)
            .setRetry(Topics.retryAtOnce()));
    Topics.publish(client, topic, Topics.numbered(3, 0));
    CompletableFuture<Integer> last = new CompletableFuture<>();
    try (Consumer consumer = client.consumer(topic, "s").build()) {
      consumer.start(
          delivery -> {
            switch (Topics.numberOf(delivery)) {
              case 0 -> delivery.deadLetter("hopeless");
              case 1 -> throw new IllegalStateException("again and again");
              default -> last.complete(delivery.attempt());
            }
          });
      last.join();
    }
    assertEquals(List.of("0", "1"), Topics.read(client, topic + ".s.dead-letter"));
    assertEquals(2, Topics.deadLettersOf(client, topic));
    assertEquals(0, Topics.backlogOf(client, topic));
  }

  @Test
  void asynchronousHandlersSettleWhenTheirStageEnds() {
    String topic = Topics.create(client, 1);
    Topics.subscribe(client, topic, Ordering.ORDERING_NONE);
    Topics.publish(client, topic, Topics.numbered(50, 0));
    CountDownLatch handled = new CountDownLatch(50);
    List<CompletableFuture<Void>> stages = Collections.synchronizedList(new ArrayList<>());
    try (Consumer consumer = client.consumer(topic, "s").concurrency(10).build()) {
      consumer.runAsync(
          delivery -> {
            if (delivery.offset() == 3 && delivery.attempt() == 1)
              return CompletableFuture.failedFuture(new IllegalStateException("no"));
            CompletableFuture<Void> stage = new CompletableFuture<>();
            stages.add(stage);
            handled.countDown();
            return stage;
          });
      Topics.await("ten at once", () -> stages.size() == 10);
      while (handled.getCount() > 0) {
        for (CompletableFuture<Void> stage : List.copyOf(stages)) stage.complete(null);
      }
      for (CompletableFuture<Void> stage : List.copyOf(stages)) stage.complete(null);
      Topics.await("an empty backlog", () -> Topics.backlogOf(client, topic) == 0);
    }
  }

  @Test
  void whatCanNotMendEndsTheConsumer() {
    String topic = Topics.create(client, 1);
    Topics.publish(client, topic, Message.of("only"));
    CompletableFuture<Void> handled = new CompletableFuture<>();
    try (Consumer consumer = client.consumer(topic, "s").build()) {
      CompletableFuture<Void> ended = consumer.start(delivery -> handled.complete(null));
      handled.join();
      client
          .admin()
          .deleteSubscription(
              DeleteSubscriptionRequest.newBuilder().setTopic(topic).setName("s").build());
      assertEquals(
          ErrorReason.ERROR_REASON_SUBSCRIPTION_DELETED, ProducerTest.errorOf(ended).errorReason());
    }
    try (Consumer misnamed = client.consumer("no blanks", "s").build()) {
      assertEquals("INVALID_NAME", assertThrows(SluiceException.class, misnamed::receive).reason());
      assertEquals("INVALID_NAME", assertThrows(SluiceException.class, misnamed::receive).reason());
    }
    assertThrows(IllegalArgumentException.class, () -> client.consumer(topic, "s").concurrency(0));
  }

  @Test
  @SuppressWarnings("try") // Closed in the middle, too.
  void aConsumerIsUsedInOneWay() throws InterruptedException {
    String topic = Topics.create(client, 1);
    try (Consumer run = client.consumer(topic, "s").build();
        Consumer iterated = client.consumer(topic, "other").build()) {
      CompletableFuture<Void> ended = run.start(delivery -> {});
      assertThrows(IllegalStateException.class, run::receive);
      assertNull(iterated.receive(Duration.ofMillis(20)));
      assertThrows(IllegalStateException.class, () -> iterated.start(delivery -> {}));
      run.close();
      iterated.close();
      ended.join();
      assertNull(iterated.receive());
    }
  }

  @Test
  void aSubscriptionBeginsWhereItIsTold() throws InterruptedException {
    String topic = Topics.create(client, 1);
    Topics.publish(client, topic, Topics.numbered(5, 0));
    try (Consumer earliest = client.consumer(topic, "a").start(Start.earliest()).build();
        Consumer third = client.consumer(topic, "b").start(Start.offset(3)).build();
        Consumer old = client.consumer(topic, "c").start(Start.time(Instant.EPOCH)).build();
        Consumer latest = client.consumer(topic, "d").start(Start.latest()).build()) {
      assertEquals(0, earliest.receive().offset());
      assertEquals(3, third.receive().offset());
      assertEquals(0, old.receive().offset());
      assertNull(latest.receive(Duration.ZERO));
      Topics.await("the fourth", () -> Topics.consumersOf(client, topic).size() == 4);
      Topics.publish(client, topic, Message.of("5"));
      assertEquals(5, latest.receive().offset());
    }
  }
}
