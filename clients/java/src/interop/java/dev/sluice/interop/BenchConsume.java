package dev.sluice.interop;

import dev.sluice.client.Client;
import dev.sluice.client.Consumer;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/** Handles and acknowledges this many messages. */
final class BenchConsume implements Main.Command {
  @Override
  public Main.Outcome run(Options options) throws Exception {
    int count = options.number("messages");
    AtomicLong begin = new AtomicLong();
    AtomicInteger durable = new AtomicInteger();
    CompletableFuture<Void> done = new CompletableFuture<>();
    java.util.function.Consumer<Boolean> acknowledged =
        isDurable -> {
          if (isDurable && durable.incrementAndGet() == count) done.complete(null);
        };
    try (Client client = Client.connect(options.text("server"));
        Consumer consumer =
            client.consumer(options.text("topic"), options.text("subscription")).build()) {
      CompletableFuture<Void> ended =
          consumer.start(
              delivery -> {
                if (begin.get() == 0) begin.set(System.nanoTime());
                delivery.ack().thenAccept(acknowledged);
              });
      CompletableFuture.anyOf(ended, done).get();
      double seconds = (System.nanoTime() - begin.get()) / 1e9;
      return new Main.Outcome(Map.of("messages", count, "seconds", seconds), true);
    }
  }
}
