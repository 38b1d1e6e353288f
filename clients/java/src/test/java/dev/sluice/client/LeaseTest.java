package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sluice.v1.Subscription;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Leases, credit, and closing, against a real broker. */
@Timeout(120)
class LeaseTest {
  /**
   * A lease that is short enough to wait for its end, and long enough to be extended in time on a
   * busy machine.
   */
  private static final long BUSY_MACHINE_LEASE_MS = 4_000;

  private static Client client;

  @BeforeAll
  static void connect() {
    client = Client.connect(BrokerProcess.shared().address());
  }

  @AfterAll
  static void disconnect() {
    client.close();
  }

  /**
   * Two consumers of the same messages: one extends no leases and loses its messages, the other
   * receives and keeps them.
   */
  @Test
  void leasesAreExtendedWhileAHandlerRuns() throws InterruptedException {
    String topic = Topics.create(client, 1);
    for (String name : new String[] {"s", "control"})
      Topics.subscribe(client, name, leaseOf(topic, BUSY_MACHINE_LEASE_MS));
    Topics.publish(client, topic, Topics.numbered(2, 0));
    CompletableFuture<Void> passed = new CompletableFuture<>();
    LinkedBlockingQueue<CompletableFuture<Boolean>> acks = new LinkedBlockingQueue<>();
    try (Consumer consumer = client.consumer(topic, "s").build();
        Consumer control = client.consumer(topic, "control").extendLeases(false).build()) {
      consumer.start(
          delivery -> {
            passed.join();
            acks.add(
                delivery.attempt() == 1
                    ? delivery.ack()
                    : CompletableFuture.completedFuture(false));
          });
      Delivery delivery = control.receive();
      revokedOf(delivery).join();
      assertFalse(delivery.ack().join());
      passed.complete(null);
      // The second message waited in the queue meanwhile.
      for (int i = 0; i < 2; i++) assertTrue(acks.poll(60, TimeUnit.SECONDS).join());
    }
  }

  @Test
  void aHandlerIsToldWhenItsMessageIsTakenBack() {
    String topic = Topics.create(client, 1);
    Topics.subscribe(client, "s", leaseOf(topic, 60_000));
    Topics.publish(client, topic, Topics.numbered(2, 0));
    CompletableFuture<Void> began = new CompletableFuture<>();
    CompletableFuture<Boolean> late = new CompletableFuture<>();
    CompletableFuture<Boolean> second = new CompletableFuture<>();
    try (Consumer consumer = client.consumer(topic, "s").extendLeases(false).build()) {
      consumer.start(
          delivery -> {
            if (delivery.offset() == 0 && delivery.attempt() == 1) {
              began.complete(null);
              revokedOf(delivery).join();
              assertTrue(delivery.isRevoked());
              late.complete(delivery.ack().join());
            } else if (delivery.offset() == 1) {
              second.complete(delivery.isRevoked());
            }
          });
      began.join();
      Topics.endLease(client, topic, 0);
      assertFalse(late.join());
      assertFalse(second.join());
    }
    assertEquals(0, Topics.backlogOf(client, topic));
  }

  @Test
  void leasesAreExtendedByHand() throws InterruptedException {
    String topic = Topics.create(client, 1);
    Topics.publish(client, topic, Message.of("held"));
    try (Consumer consumer = client.consumer(topic, "s").extendLeases(false).build()) {
      Delivery delivery = consumer.receive();
      assertTrue(delivery.extend(Duration.ofMinutes(5)).join());
      assertTrue(delivery.extend(Duration.ofMillis(1)).join());
      revokedOf(delivery).join();
      assertFalse(delivery.extend(Duration.ofMinutes(5)).join());
    }
  }

  @Test
  void creditFollowsTheSpeed() {
    String topic = Topics.create(client, 1);
    // A busy machine also handles this many messages in a second.
    int most = 500;
    AtomicBoolean isSlow = new AtomicBoolean();
    try (Consumer consumer =
        client.consumer(topic, "s").maxOutstandingMessages(most).drainTimeoutMs(10_000).build()) {
      consumer.start(
          delivery -> {
            if (isSlow.get()) Thread.sleep(50);
          });
      Topics.await(
          "all for a fast handler",
          () -> {
            // There is always a message to handle.
            Topics.publish(client, topic, Topics.numbered(most, 0));
            return grantedOf(topic) == most;
          });
      isSlow.set(true);
      Topics.publish(client, topic, Topics.numbered(most, 0));
      Topics.await(
          "little for a slow handler",
          () -> {
            long granted = grantedOf(topic);
            return granted >= 16 && granted <= 60;
          });
    }
  }

  private static long grantedOf(String topic) {
    return Topics.consumersOf(client, topic).stream()
        .mapToLong(one -> one.getFlowControl().getMaxOutstandingMessages())
        .sum();
  }

  @Test
  void closeLetsHandlersFinishAndLeavesTheRest() throws InterruptedException {
    String topic = Topics.create(client, 1);
    Topics.publish(client, topic, Topics.numbered(10, 0));
    CompletableFuture<Void> began = new CompletableFuture<>();
    CompletableFuture<Void> goOn = new CompletableFuture<>();
    LinkedBlockingQueue<CompletableFuture<Boolean>> acks = new LinkedBlockingQueue<>();
    Consumer consumer = client.consumer(topic, "s").build();
    CompletableFuture<Void> ended =
        consumer.start(
            delivery -> {
              began.complete(null);
              goOn.join();
              acks.add(delivery.ack());
            });
    began.join();
    Thread closing = new Thread(consumer::close);
    closing.start();
    Topics.await("close waits", () -> closing.getState() == Thread.State.TIMED_WAITING);
    assertFalse(ended.isDone());
    goOn.complete(null);
    closing.join();
    ended.join();
    assertEquals(1, acks.size());
    assertTrue(acks.remove().join());
    assertEquals(9, Topics.backlogOf(client, topic));
    try (Consumer next = client.consumer(topic, "s").build()) {
      Delivery delivery = next.receive();
      assertEquals(1, delivery.offset());
      // No attempt is counted for messages that no handler has begun.
      assertEquals(1, delivery.attempt());
    }
  }

  @Test
  void closeDoesNotWaitForEver() {
    String topic = Topics.create(client, 1);
    Topics.publish(client, topic, Message.of("for ever"));
    CompletableFuture<Void> began = new CompletableFuture<>();
    CompletableFuture<Boolean> late = new CompletableFuture<>();
    Consumer consumer = client.consumer(topic, "s").drainTimeoutMs(50).build();
    CompletableFuture<Void> ended =
        consumer.start(
            delivery -> {
              began.complete(null);
              revokedOf(delivery).join();
              late.complete(delivery.ack().join());
            });
    began.join();
    consumer.close();
    ended.join();
    assertFalse(late.join());
  }

  static CompletableFuture<Void> revokedOf(Delivery delivery) {
    CompletableFuture<Void> revoked = new CompletableFuture<>();
    delivery.whenRevoked(() -> revoked.complete(null));
    return revoked.orTimeout(60, TimeUnit.SECONDS);
  }

  private static Subscription.Builder leaseOf(String topic, long milliseconds) {
    return Subscription.newBuilder()
        .setTopic(topic)
        .setAckDeadline(Topics.millis(milliseconds))
        .setRetry(Topics.retryAtOnce());
  }
}
