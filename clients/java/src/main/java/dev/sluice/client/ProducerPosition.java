package dev.sluice.client;

import dev.sluice.v1.GetProducerRequest;
import dev.sluice.v1.GetProducerResponse;
import dev.sluice.v1.GetTopicRequest;
import dev.sluice.v1.OpenProducerRequest;
import dev.sluice.v1.OpenProducerResponse;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/** The epoch of a producer, and the sequence of its last durable message. */
record ProducerPosition(long epoch, long lastSequence) {
  /** How long the client tries to open a producer that has no retry timeout. */
  private static final long OPEN_TIMEOUT_MS = 10_000;

  /** The deadline of one call. */
  private static final long CALL_TIMEOUT_MS = 10_000;

  /** A random number from 1 to 2^53 - 1. */
  static long newClaimId() {
    return ThreadLocalRandom.current().nextLong(1, 1L << 53);
  }

  /**
   * Claims the name of a producer, which fences every lower epoch. Retries for a time. Each attempt
   * has the same claim_id, so that the broker recognizes a claim whose answer was lost.
   */
  static ProducerPosition open(Client client, ProducerBuilder settings) {
    long claimId = newClaimId();
    return retry(client, settings, timeoutMs -> claim(client, settings, claimId, null, timeoutMs));
  }

  /**
   * Fences the batches that this producer has sent in its epoch, if no other process has claimed
   * the name.
   */
  static ProducerPosition renew(Client client, ProducerBuilder settings, long claimId, long epoch) {
    return claim(client, settings, claimId, epoch, CALL_TIMEOUT_MS);
  }

  private static ProducerPosition claim(
      Client client,
      ProducerBuilder settings,
      long claimId,
      @Nullable Long currentEpoch,
      long timeoutMs) {
    OpenProducerRequest.Builder request =
        OpenProducerRequest.newBuilder()
            .setTopic(settings.topic)
            .setProducerId(settings.producerId)
            .setClaimId(claimId);
    if (currentEpoch != null) request.setCurrentEpoch(currentEpoch);
    try {
      OpenProducerResponse claimed =
          client
              .blockingBroker()
              .withDeadlineAfter(timeoutMs, TimeUnit.MILLISECONDS)
              .openProducer(request.build());
      return new ProducerPosition(claimed.getEpoch(), claimed.getLastSequence());
    } catch (StatusRuntimeException thrown) {
      SluiceException error = SluiceException.from(thrown);
      throw error.code() == Code.UNIMPLEMENTED ? SluiceException.oldBroker() : error;
    }
  }

  /**
   * Asks for the position without a claim. If the broker does not know the producer, the topic was
   * deleted.
   */
  static ProducerPosition of(Client client, ProducerBuilder settings, long epoch) {
    GetProducerResponse found;
    try {
      GetProducerRequest request =
          GetProducerRequest.newBuilder()
              .setTopic(settings.topic)
              .setProducerId(settings.producerId)
              .build();
      found =
          client
              .blockingBroker()
              .withDeadlineAfter(CALL_TIMEOUT_MS, TimeUnit.MILLISECONDS)
              .getProducer(request);
    } catch (StatusRuntimeException thrown) {
      SluiceException error = SluiceException.from(thrown);
      boolean isGone =
          error.reason().equals("PRODUCER_NOT_FOUND") || error.reason().equals("TOPIC_NOT_FOUND");
      throw isGone ? SluiceException.topicDeleted(settings.topic) : error;
    }
    if (found.getEpoch() != epoch)
      throw SluiceException.fenced(settings.producerId, found.getEpoch());
    return new ProducerPosition(epoch, found.getLastSequence());
  }

  /** The number of partitions. A topic that does not exist yet will have one. */
  static int partitionCountOf(Client client, ProducerBuilder settings) {
    return retry(
        client, settings, timeoutMs -> partitionCountOf(client, settings.topic, timeoutMs));
  }

  static int partitionCountOf(Client client, String topic) {
    return partitionCountOf(client, topic, CALL_TIMEOUT_MS);
  }

  private static int partitionCountOf(Client client, String topic, long timeoutMs) {
    try {
      GetTopicRequest request = GetTopicRequest.newBuilder().setName(topic).build();
      return Math.max(
          1,
          client
              .admin()
              .withDeadlineAfter(timeoutMs, TimeUnit.MILLISECONDS)
              .getTopic(request)
              .getTopic()
              .getPartitionCount());
    } catch (StatusRuntimeException thrown) {
      SluiceException error = SluiceException.from(thrown);
      if (!error.reason().equals("TOPIC_NOT_FOUND")) throw error;
      return 1;
    }
  }

  /** Repeats a call while its error may pass. The call gets the time that is left. */
  private static <T> T retry(Client client, ProducerBuilder settings, LongFunction<T> call) {
    long timeoutMs = settings.retryTimeoutMs > 0 ? settings.retryTimeoutMs : OPEN_TIMEOUT_MS;
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMs);
    Backoff backoff = new Backoff(settings.retryMinBackoffMs, settings.retryMaxBackoffMs);
    @Nullable SluiceException last = null;
    for (; ; ) {
      client.retryConnection();
      long leftMs = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
      if (last != null && leftMs <= 0) throw last;
      try {
        return call.apply(Math.max(1, leftMs));
      } catch (SluiceException error) {
        if (!Failure.isPassing(error)) throw error;
        // The error of an earlier attempt says more than an exceeded deadline.
        if (last == null || error.code() != Code.DEADLINE_EXCEEDED) last = error;
      }
      sleep(Math.min(backoff.nextMs(last.retryDelay().orElse(null)), Math.max(1, leftMs)));
    }
  }

  private static void sleep(long milliseconds) {
    try {
      Thread.sleep(milliseconds);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new SluiceException(
          Code.CANCELLED, Code.CANCELLED.name(), "interrupted while the producer was opened");
    }
  }
}
