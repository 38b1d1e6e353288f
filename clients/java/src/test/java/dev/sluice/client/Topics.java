package dev.sluice.client;

import com.google.protobuf.Duration;
import dev.sluice.v1.AcknowledgeRequest;
import dev.sluice.v1.BrokerGrpc;
import dev.sluice.v1.CreateSubscriptionRequest;
import dev.sluice.v1.CreateTopicRequest;
import dev.sluice.v1.GetSubscriptionRequest;
import dev.sluice.v1.ListConsumersRequest;
import dev.sluice.v1.MessageRun;
import dev.sluice.v1.OffsetRange;
import dev.sluice.v1.Ordering;
import dev.sluice.v1.ReadRequest;
import dev.sluice.v1.ReadResponse;
import dev.sluice.v1.RetryPolicy;
import dev.sluice.v1.Settlement;
import dev.sluice.v1.Subscription;
import dev.sluice.v1.SubscriptionPartitionStats;
import dev.sluice.v1.Topic;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;

/** Creates and reads topics and subscriptions for tests. */
final class Topics {
  private static final AtomicInteger COUNT = new AtomicInteger();
  private static final long WAIT_NANOS = TimeUnit.SECONDS.toNanos(60);
  private static final long POLL_MS = 5;

  private Topics() {}

  /** Creates a topic. */
  static String create(Client client, int partitionCount) {
    return create(client, Topic.newBuilder().setPartitionCount(partitionCount));
  }

  static String create(Client client, Topic.Builder topic) {
    String name = "topic-" + COUNT.incrementAndGet();
    client
        .admin()
        .createTopic(CreateTopicRequest.newBuilder().setTopic(topic.setName(name)).build());
    return name;
  }

  /** Creates a subscription with the name `s`. */
  static void subscribe(Client client, String topic, Ordering ordering) {
    subscribe(client, Subscription.newBuilder().setTopic(topic).setOrdering(ordering));
  }

  static void subscribe(Client client, Subscription.Builder subscription) {
    subscribe(client, "s", subscription);
  }

  static void subscribe(Client client, String name, Subscription.Builder subscription) {
    client
        .admin()
        .createSubscription(
            CreateSubscriptionRequest.newBuilder()
                .setSubscription(subscription.setName(name))
                .build());
  }

  static RetryPolicy retryAtOnce() {
    return RetryPolicy.newBuilder().setMinBackoff(millis(1)).build();
  }

  /** Messages with their number as payload, with this many keys; without a key for 0. */
  static Message[] numbered(int count, int keyCount) {
    Message[] messages = new Message[count];
    for (int i = 0; i < count; i++) {
      String number = Integer.toString(i);
      messages[i] = keyCount == 0 ? Message.of(number) : Message.of("key-" + i % keyCount, number);
    }
    return messages;
  }

  static int numberOf(Delivery delivery) {
    return Integer.parseInt(delivery.payload().toStringUtf8());
  }

  static Duration millis(long milliseconds) {
    return Duration.newBuilder()
        .setSeconds(milliseconds / 1000)
        .setNanos((int) (milliseconds % 1000) * 1_000_000)
        .build();
  }

  /** Payloads of a topic as text, by partition and offset. */
  static List<String> read(Client client, String topic) {
    List<String> payloads = new ArrayList<>();
    Iterator<ReadResponse> responses =
        BrokerGrpc.newBlockingStub(client.channel())
            .read(ReadRequest.newBuilder().setTopic(topic).build());
    while (responses.hasNext()) {
      for (MessageRun run : responses.next().getRunsList()) {
        run.getMessagesList().forEach(message -> payloads.add(message.getPayload().toStringUtf8()));
      }
    }
    return payloads;
  }

  static void publish(Client client, String topic, Message... messages) {
    try (Producer producer = client.producer(topic).open()) {
      for (Message message : messages) producer.send(message);
    }
  }

  static long backlogOf(Client client, String topic) {
    long backlog = 0;
    for (SubscriptionPartitionStats partition : statsOf(client, topic))
      backlog += partition.getBacklogMessageCount();
    return backlog;
  }

  static long deadLettersOf(Client client, String topic) {
    long count = 0;
    for (SubscriptionPartitionStats partition : statsOf(client, topic))
      count += partition.getDeadLetterCount();
    return count;
  }

  static long outstandingOf(Client client, String topic, int partition) {
    return statsOf(client, topic).get(partition).getOutstandingMessageCount();
  }

  private static List<SubscriptionPartitionStats> statsOf(Client client, String topic) {
    GetSubscriptionRequest request =
        GetSubscriptionRequest.newBuilder().setTopic(topic).setName("s").build();
    return client.admin().getSubscription(request).getSubscription().getPartitionsList();
  }

  static List<dev.sluice.v1.Consumer> consumersOf(Client client, String topic) {
    return client
        .admin()
        .listConsumers(ListConsumersRequest.newBuilder().setTopic(topic).build())
        .getConsumersList();
  }

  /**
   * Ends the lease of a message of partition 0 at once. So a test can use a long lease, which does
   * not lapse on a busy machine.
   */
  static void endLease(Client client, String topic, long offset) {
    Settlement.Builder end =
        Settlement.newBuilder()
            .setOffsets(OffsetRange.newBuilder().setFirstOffset(offset).setLastOffset(offset))
            .setExtend(Settlement.ExtendDeadline.newBuilder().setBy(millis(1)));
    String session = consumersOf(client, topic).get(0).getSessionId();
    int staleCount =
        BrokerGrpc.newBlockingStub(client.channel())
            .acknowledge(
                AcknowledgeRequest.newBuilder().setSessionId(session).addSettlements(end).build())
            .getStaleCount();
    if (staleCount > 0) throw new AssertionError("the lease was over already");
  }

  /** Polls for a condition without an event. */
  static void await(String what, BooleanSupplier isSo) {
    long end = System.nanoTime() + WAIT_NANOS;
    while (!isSo.getAsBoolean()) {
      if (System.nanoTime() > end) throw new AssertionError("never: " + what);
      try {
        Thread.sleep(POLL_MS);
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
    }
  }
}
