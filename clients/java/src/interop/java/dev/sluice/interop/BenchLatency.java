package dev.sluice.interop;

import dev.sluice.client.Client;
import dev.sluice.client.Consumer;
import dev.sluice.client.Message;
import dev.sluice.client.Producer;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.LockSupport;

/**
 * Sends at a steady rate and consumes in the same process. The latency of a message is counted from
 * the time when it was due.
 */
final class BenchLatency implements Main.Command {
  @Override
  public Main.Outcome run(Options options) throws Exception {
    int rate = options.number("rate");
    int warmupCount = rate * options.numberOr("warmup", 0);
    int count = warmupCount + rate * options.number("seconds");
    int payloadBytes = Math.max(Integer.BYTES, options.numberOr("payload-bytes", 100));
    long[] published = new long[count];
    long[] delivered = new long[count];
    CountDownLatch left = new CountDownLatch(2 * count);
    try (Client client = Client.connect(options.text("server"));
        Producer producer = Opening.producer(client, options.text("topic"));
        Consumer consumer =
            client.consumer(options.text("topic"), options.text("subscription")).build()) {
      long begin = System.nanoTime() + 200_000_000L;
      CompletableFuture<Void> ended =
          consumer.start(
              delivery -> {
                int index = delivery.payload().asReadOnlyByteBuffer().getInt();
                if (delivered[index] != 0) return;
                delivered[index] = System.nanoTime() - dueAt(begin, index, rate);
                left.countDown();
              });
      for (int i = 0; i < count; i++) {
        int index = i;
        long due = dueAt(begin, i, rate);
        for (long wait = due - System.nanoTime(); wait > 0; wait = due - System.nanoTime())
          LockSupport.parkNanos(wait);
        byte[] payload = ByteBuffer.allocate(payloadBytes).putInt(i).array();
        producer
            .send(Message.of(payload))
            .thenRun(
                () -> {
                  published[index] = System.nanoTime() - due;
                  left.countDown();
                });
      }
      CompletableFuture<Void> all = CompletableFuture.runAsync(() -> await(left));
      CompletableFuture.anyOf(ended, all).get();
    }
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("messages", count - warmupCount);
    line.put("publish", summary(Arrays.copyOfRange(published, warmupCount, count)));
    line.put("deliver", summary(Arrays.copyOfRange(delivered, warmupCount, count)));
    return new Main.Outcome(line, true);
  }

  private static void await(CountDownLatch left) {
    try {
      left.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static long dueAt(long begin, int index, int rate) {
    return begin + (long) (index * 1e9 / rate);
  }

  private static Map<String, Double> summary(long[] nanos) {
    Arrays.sort(nanos);
    Map<String, Double> summary = new LinkedHashMap<>();
    summary.put("p50Ms", nanos[nanos.length / 2] / 1e6);
    summary.put("p99Ms", nanos[(int) (nanos.length * 0.99)] / 1e6);
    summary.put("maxMs", nanos[nanos.length - 1] / 1e6);
    return summary;
  }
}
