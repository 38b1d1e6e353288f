package dev.sluice.interop;

import dev.sluice.client.Client;
import dev.sluice.client.Message;
import dev.sluice.client.Producer;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;

/** Sends messages without keys, as fast as the producer accepts them. */
final class BenchPublish implements Main.Command {
  @Override
  public Main.Outcome run(Options options) throws Exception {
    int count = options.number("messages");
    byte[] payload = new byte[options.numberOr("payload-bytes", 100)];
    CountDownLatch left = new CountDownLatch(count);
    AtomicReference<Throwable> failure = new AtomicReference<>();
    try (Client client = Client.connect(options.text("server"));
        Producer producer = Opening.producer(client, options.text("topic"))) {
      long begin = System.nanoTime();
      for (int i = 0; i < count; i++) {
        producer
            .send(Message.of(payload))
            .whenComplete(
                (receipt, failed) -> {
                  if (failed != null) failure.set(failed);
                  left.countDown();
                });
      }
      left.await();
      double seconds = (System.nanoTime() - begin) / 1e9;
      if (failure.get() != null) throw new IllegalStateException(failure.get());
      return new Main.Outcome(Map.of("messages", count, "seconds", seconds), true);
    }
  }
}
