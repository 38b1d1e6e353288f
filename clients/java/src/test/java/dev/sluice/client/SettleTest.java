package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sluice.v1.ConsumeRequest;
import dev.sluice.v1.ConsumeResponse;
import dev.sluice.v1.DeadLetterPolicy;
import dev.sluice.v1.GetMessageRequest;
import dev.sluice.v1.Message;
import dev.sluice.v1.MessageRun;
import dev.sluice.v1.OffsetRange;
import dev.sluice.v1.RetryPolicy;
import dev.sluice.v1.SessionOpened;
import dev.sluice.v1.Subscription;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The settlements of a consumer: none for messages that it did not handle or does not hold. */
@Timeout(240)
class SettleTest {
  /** A consumer that is closed soon after its start, before or after its session is open. */
  @Test
  void closingEarlyChargesNothing() throws InterruptedException {
    try (Client client = Client.connect(BrokerProcess.shared().address())) {
      String topic = Topics.create(client, 1);
      Topics.subscribe(
          client,
          Subscription.newBuilder()
              .setTopic(topic)
              .setDeadLetter(DeadLetterPolicy.newBuilder().setDisabled(true))
              .setRetry(
                  RetryPolicy.newBuilder()
                      .setMinBackoff(Topics.millis(1))
                      .setMaxBackoff(Topics.millis(1))));
      Topics.publish(client, topic, dev.sluice.client.Message.of("never handled"));
      AtomicInteger handled = new AtomicInteger();
      for (int round = 0; round < 40; round++) {
        try (Client own = Client.connect(BrokerProcess.shared().address());
            Consumer consumer = own.consumer(topic, "s").build()) {
          consumer.start(
              delivery -> {
                handled.incrementAndGet();
                throw new IllegalStateException("handled");
              });
          // From less time than a connection takes to more time than an open session takes. On a
          // busy machine, fewer
          // rounds see an open session: the check is weaker, and does not fail.
          Thread.sleep(round % 20);
        }
        int failed =
            client
                .admin()
                .getMessage(GetMessageRequest.newBuilder().setTopic(topic).build())
                .getStatuses(0)
                .getFailedAttempts();
        assertTrue(
            failed <= handled.get(),
            "round " + round + ": " + failed + " failed attempts, " + handled + " handled");
      }
    }
  }

  @Test
  void closingBeforeTheSessionIsOpenIsNoReset() throws Exception {
    try (ScriptedServer server = new ScriptedServer();
        Client client = Client.connect(server.address())) {
      server.isConsumable = true;
      try (Consumer consumer = client.consumer("t", "s").build()) {
        consumer.start(delivery -> {});
        assertTrue(server.consumed.poll(60, TimeUnit.SECONDS).hasSubscribe());
      }
      assertTrue(server.hasLeft.get(60, TimeUnit.SECONDS), "the stream was reset");
    }
  }

  /** A late acknowledgement, which the network has delayed, must not settle the redelivery. */
  @Test
  void aLateAcknowledgementDoesNotSettleTheRedelivery() throws Exception {
    String address = BrokerProcess.shared().address();
    try (HoldingProxy proxy = new HoldingProxy(address);
        Client direct = Client.connect(address);
        Client client = Client.connect(proxy.address())) {
      String topic = Topics.create(direct, 1);
      Topics.subscribe(
          direct,
          Subscription.newBuilder()
              .setTopic(topic)
              .setAckDeadline(Topics.millis(60_000))
              .setRetry(Topics.retryAtOnce()));
      Topics.publish(direct, topic, dev.sluice.client.Message.of("one"));
      try (Consumer consumer = client.consumer(topic, "s").extendLeases(false).build()) {
        Delivery first = receive(consumer);
        proxy.hold();
        CompletableFuture<Boolean> late = first.ack();
        Topics.await("the acknowledgement is held", proxy::holdsAnything);
        Topics.endLease(direct, topic, 0);
        Delivery again = receive(consumer);
        CompletableFuture<Boolean> extended = again.extend(Duration.ofMinutes(1));
        proxy.release("");
        assertFalse(late.get(60, TimeUnit.SECONDS), "settled by the late acknowledgement");
        assertTrue(extended.get(60, TimeUnit.SECONDS), "the redelivery is still leased");
        assertEquals(1, Topics.backlogOf(direct, topic));
        assertTrue(again.ack().get(60, TimeUnit.SECONDS));
        assertEquals(0, Topics.backlogOf(direct, topic));
      }
    }
  }

  /** RESOURCE_EXHAUSTED of a proxy, and of the broker: the consumer opens the stream again. */
  @Test
  void aStreamThatIsRefusedForNowIsOpenedAgain() throws Exception {
    try (ScriptedServer server = new ScriptedServer();
        Client client = Client.connect(server.address())) {
      server.isConsumable = true;
      for (Status status :
          List.of(Status.RESOURCE_EXHAUSTED, Status.UNAVAILABLE, Status.INTERNAL)) {
        server.refusedSessions.add(status.withDescription("not now"));
      }
      try (Consumer consumer = client.consumer("t", "s").retryMinBackoffMs(1).build()) {
        CompletableFuture<Void> ended = consumer.start(delivery -> {});
        assertTrue(server.consumed.poll(60, TimeUnit.SECONDS).hasSubscribe());
        assertFalse(ended.isDone());
      }
      assertTrue(server.refusedSessions.isEmpty());
    }
  }

  private static ConsumeResponse.Builder delivered(long offset, long deliveryId) {
    return ConsumeResponse.newBuilder()
        .addRuns(
            MessageRun.newBuilder()
                .setFirstOffset(offset)
                .setAttempt(1)
                .setDeliveryId(deliveryId)
                .addMessages(Message.getDefaultInstance()));
  }

  @Test
  void settlementsSayWhatWasRead() throws Exception {
    try (ScriptedServer server = new ScriptedServer();
        Client client = Client.connect(server.address())) {
      server.isConsumable = true;
      for (int i = 0; i < 3; i++)
        server.refusedSubscriptions.add(Status.RESOURCE_EXHAUSTED.withDescription("rate limit"));
      Consumer consumer =
          client
              .consumer("t", "s")
              .ackIntervalMs(3_600_000)
              .concurrency(20)
              .retryMinBackoffMs(1)
              .drainTimeoutMs(100)
              .build();
      CompletableFuture<Delivery> first = CompletableFuture.supplyAsync(() -> receive(consumer));
      StreamObserver<ConsumeResponse> stream = server.consumer.get(60, TimeUnit.SECONDS);
      ConsumeRequest subscribe = server.consumed.poll(60, TimeUnit.SECONDS);
      assertEquals(40, subscribe.getSubscribe().getFlowControl().getMaxOutstandingMessages());
      SessionOpened.Builder opened =
          SessionOpened.newBuilder()
              .setAckDeadline(com.google.protobuf.Duration.newBuilder().setSeconds(3_600));
      stream.onNext(ConsumeResponse.newBuilder().setOpened(opened).build());
      stream.onNext(delivered(0, 5).build());
      CompletableFuture<Boolean> late = first.join().ack(); // Gathered, not sent.
      stream.onNext(delivered(0, 9).addRevoked(OffsetRange.getDefaultInstance()).build());
      assertFalse(late.get(60, TimeUnit.SECONDS), "taken back before it was sent");
      receive(consumer).nack(null, "no");
      ConsumeRequest nack = settlement(server);
      assertEquals(1, nack.getSettlementsCount());
      assertTrue(nack.getSettlements(0).hasNack());
      assertEquals(9, nack.getLastDeliveryId());
      stream.onNext(delivered(7, 12).build());
      receive(consumer).ack();
      CompletableFuture<Void> closed = CompletableFuture.runAsync(consumer::close);
      ConsumeRequest ack = settlement(server);
      assertEquals(7, ack.getSettlements(0).getOffsets().getFirstOffset());
      assertEquals(12, ack.getLastDeliveryId());
      for (long id = 1; id <= ack.getSettlementId(); id++) {
        stream.onNext(
            ConsumeResponse.newBuilder()
                .setSettled(ConsumeResponse.Settled.newBuilder().setSettlementId(id))
                .build());
      }
      closed.join();
    }
  }

  /**
   * A session whose leases have lapsed receives nothing before it sends its credit again. So a
   * consumer that can take messages sends its credit, although it has not changed.
   */
  @Test
  void whatWasTakenBackIsAnsweredWithTheCredit() throws Exception {
    for (boolean isRun : List.of(true, false)) {
      try (ScriptedServer server = new ScriptedServer();
          Client client = Client.connect(server.address());
          Consumer consumer = client.consumer("t", "s").build()) {
        server.isConsumable = true;
        CompletableFuture<Delivery> begun = new CompletableFuture<>();
        CompletableFuture<Void> revoked = new CompletableFuture<>();
        if (isRun) {
          consumer.start(
              delivery -> {
                delivery.whenRevoked(() -> revoked.complete(null));
                begun.complete(delivery);
                revoked.join();
              });
        } else {
          CompletableFuture.runAsync(
              () -> {
                Delivery delivery = receive(consumer);
                delivery.whenRevoked(() -> revoked.complete(null));
                begun.complete(delivery);
                revoked.join();
                receive(consumer);
              });
        }
        StreamObserver<ConsumeResponse> stream = server.consumer.get(60, TimeUnit.SECONDS);
        SessionOpened.Builder opened =
            SessionOpened.newBuilder()
                .setAckDeadline(com.google.protobuf.Duration.newBuilder().setSeconds(3_600));
        stream.onNext(ConsumeResponse.newBuilder().setOpened(opened).build());
        stream.onNext(delivered(0, 5).build());
        ConsumeRequest subscribe = server.consumed.poll(60, TimeUnit.SECONDS);
        begun.get(60, TimeUnit.SECONDS);
        stream.onNext(
            ConsumeResponse.newBuilder().addRevoked(OffsetRange.getDefaultInstance()).build());
        ConsumeRequest said = server.consumed.poll(60, TimeUnit.SECONDS);
        assertEquals(subscribe.getSubscribe().getFlowControl(), said.getFlowControl());
        assertEquals(0, said.getSettlementsCount());
      }
    }
  }

  private static Delivery receive(Consumer consumer) {
    try {
      return consumer.receive(Duration.ofSeconds(60));
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  private static ConsumeRequest settlement(ScriptedServer server) throws InterruptedException {
    for (; ; ) {
      ConsumeRequest request = server.consumed.poll(60, TimeUnit.SECONDS);
      if (request == null || request.getSettlementsCount() > 0) return request;
    }
  }
}
