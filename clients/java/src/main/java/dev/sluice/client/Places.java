package dev.sluice.client;

import dev.sluice.v1.PublishStreamResponse;
import org.jspecify.annotations.Nullable;

/** Completes the receipts of stored batches with the places of their messages. Thread-safe. */
final class Places {
  private final Client client;
  private final String topic;
  private volatile int partitionCount;

  Places(Client client, String topic, int partitionCount) {
    this.client = client;
    this.topic = topic;
    this.partitionCount = partitionCount;
  }

  /** Completes the receipts. May call the broker. */
  void complete(Batch batch, PublishStreamResponse response) {
    int skipped = (int) response.getDuplicateCount();
    Routing.@Nullable Places places =
        batch.placesOf(skipped, response.getRangesList(), partitionCount);
    if (places == null && skipped < batch.count()) {
      // The topic has got more partitions.
      try {
        partitionCount = ProducerPosition.partitionCountOf(client, topic);
        places = batch.placesOf(skipped, response.getRangesList(), partitionCount);
      } catch (SluiceException unknown) {
        // The messages are durable. Their receipts say that the place is unknown.
        places = null;
      }
    }
    batch.complete(skipped, places, response.getDurability());
  }
}
