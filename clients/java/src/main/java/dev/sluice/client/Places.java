package dev.sluice.client;

import dev.sluice.v1.PublishStreamResponse;

/** Says for each message of a stored batch where it is. Safe for any number of threads. */
final class Places {
  private final Client client;
  private final String topic;
  private volatile int partitionCount;

  Places(Client client, String topic, int partitionCount) {
    this.client = client;
    this.topic = topic;
    this.partitionCount = partitionCount;
  }

  /** Completes the receipts; may ask the broker. */
  void complete(Batch batch, PublishStreamResponse response) {
    int skipped = (int) response.getDuplicateCount();
    Routing.Places places = batch.placesOf(skipped, response.getRangesList(), partitionCount);
    if (places == null && skipped < batch.count()) {
      // The topic has more partitions than it had.
      try {
        partitionCount = ProducerPosition.partitionCountOf(client, topic);
        places = batch.placesOf(skipped, response.getRangesList(), partitionCount);
      } catch (SluiceException unknown) {
        // The messages are durable all the same; their receipts say that it is not known where.
        places = null;
      }
    }
    batch.complete(skipped, places, response.getDurability());
  }
}
