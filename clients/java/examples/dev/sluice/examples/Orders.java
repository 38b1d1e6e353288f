package dev.sluice.examples;

import com.google.protobuf.ByteString;
import dev.sluice.client.Client;
import dev.sluice.client.Consumer;
import dev.sluice.client.Message;
import dev.sluice.client.Producer;
import dev.sluice.client.Receipt;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;

/** A producer and a consumer with a handler that fails once; against a running broker: `make example`. */
public final class Orders {
  private static final int COUNT = 10;

  private Orders() {}

  public static void main(String[] arguments) {
    String target = arguments.length > 0 ? arguments[0] : "127.0.0.1:7070";
    try (Client client = Client.connect(target)) {
      produce(client);
      consume(client);
    }
  }

  private static void produce(Client client) {
    List<CompletableFuture<Receipt>> receipts = new ArrayList<>();
    try (Producer producer = client.producer("example-orders").open()) {
      for (int i = 0; i < COUNT; i++) receipts.add(producer.send(Message.of("customer-" + i % 3, "order " + i)));
    }
    for (CompletableFuture<Receipt> each : receipts) {
      Receipt receipt = each.join();
      System.out.println("stored in partition " + receipt.partition() + " at offset " + receipt.offset());
    }
  }

  private static void consume(Client client) {
    Set<ByteString> billed = ConcurrentHashMap.newKeySet();
    CompletableFuture<Void> done = new CompletableFuture<>();
    try (Consumer consumer = client.consumer("example-orders", "example-billing").concurrency(4).build()) {
      CompletableFuture<Void> ended = consumer.run(delivery -> {
        String order = delivery.payload().toStringUtf8();
        // What a handler throws is the reason of its nack: the message comes again, and what is behind it waits.
        if (order.equals("order 3") && delivery.attempt() == 1) throw new IllegalStateException("the printer is out of paper");
        System.out.println("billed " + order + " to " + delivery.key().toStringUtf8() + ", attempt " + delivery.attempt());
        billed.add(delivery.payload());
        if (billed.size() == COUNT) done.complete(null);
      });
      CompletableFuture.anyOf(done, ended).join();
    }
  }
}
