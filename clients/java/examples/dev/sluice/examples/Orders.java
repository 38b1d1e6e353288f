package dev.sluice.examples;

import dev.sluice.client.Client;
import dev.sluice.client.Consumer;
import dev.sluice.client.Message;
import dev.sluice.client.Producer;
import dev.sluice.client.Receipt;
import dev.sluice.v1.CreateSubscriptionRequest;
import dev.sluice.v1.CreateTopicRequest;
import dev.sluice.v1.DeadLetterPolicy;
import dev.sluice.v1.Ordering;
import dev.sluice.v1.Subscription;
import dev.sluice.v1.Topic;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;

/**
 * Bills orders, in the order of each customer. One of the orders fails twice and is then
 * dead-lettered. Its argument is the address of a broker.
 */
public final class Orders {
  private static final String TOPIC = "orders";
  private static final List<String> CUSTOMERS = List.of("anna", "ben", "carla");
  private static final int ORDER_COUNT = 30;

  private Orders() {}

  /**
   * Publishes and bills orders.
   *
   * @param arguments the address of a broker
   * @throws InterruptedException when the thread is interrupted
   */
  public static void main(String[] arguments) throws InterruptedException {
    try (Client client = Client.connect(arguments[0])) {
      prepare(client);
      order(client);
      bill(client);
    }
  }

  private static void prepare(Client client) {
    Topic topic = Topic.newBuilder().setName(TOPIC).setPartitionCount(4).build();
    client.admin().createTopic(CreateTopicRequest.newBuilder().setTopic(topic).build());
    Subscription billing =
        Subscription.newBuilder()
            .setTopic(TOPIC)
            .setName("billing")
            .setOrdering(Ordering.ORDERING_KEY)
            .setDeadLetter(DeadLetterPolicy.newBuilder().setMaxAttempts(2))
            .build();
    client
        .admin()
        .createSubscription(
            CreateSubscriptionRequest.newBuilder().setSubscription(billing).build());
  }

  private static void order(Client client) {
    List<CompletableFuture<Receipt>> receipts = new ArrayList<>();
    try (Producer producer = client.producer(TOPIC).open()) {
      for (int i = 0; i < ORDER_COUNT; i++) {
        receipts.add(producer.send(Message.of(CUSTOMERS.get(i % CUSTOMERS.size()), "order " + i)));
      }
    }
    receipts.forEach(CompletableFuture::join);
    System.out.println(ORDER_COUNT + " orders are durable");
  }

  private static void bill(Client client) throws InterruptedException {
    CountDownLatch left = new CountDownLatch(ORDER_COUNT - 1);
    try (Consumer consumer =
        client.consumer(TOPIC, "billing").concurrency(CUSTOMERS.size()).build()) {
      consumer.start(
          delivery -> {
            String order = delivery.payload().toStringUtf8();
            if (order.equals("order 7")) {
              System.out.println(
                  order
                      + " of "
                      + delivery.key().toStringUtf8()
                      + " fails, attempt "
                      + delivery.attempt());
              throw new IllegalStateException("no such card");
            }
            left.countDown();
          });
      left.await();
    }
    System.out.println((ORDER_COUNT - 1) + " orders were billed");
  }
}
