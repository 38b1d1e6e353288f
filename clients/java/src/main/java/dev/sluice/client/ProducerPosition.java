package dev.sluice.client;

import dev.sluice.v1.GetProducerRequest;
import dev.sluice.v1.GetProducerResponse;
import dev.sluice.v1.GetTopicRequest;
import io.grpc.StatusRuntimeException;

/** Where a producer stands, by what is durable; at the beginning where the broker knows neither it nor its topic. */
record ProducerPosition(long epoch, long lastSequence) {
  static ProducerPosition of(Client client, String topic, String producerId) {
    try {
      GetProducerRequest request = GetProducerRequest.newBuilder().setTopic(topic).setProducerId(producerId).build();
      GetProducerResponse found = client.blockingBroker().getProducer(request);
      return new ProducerPosition(found.getEpoch(), found.getLastSequence());
    } catch (StatusRuntimeException thrown) {
      SluiceException error = SluiceException.from(thrown);
      String reason = error.reason();
      if (!reason.equals("PRODUCER_NOT_FOUND") && !reason.equals("TOPIC_NOT_FOUND")) throw error;
      return new ProducerPosition(0, 0);
    }
  }

  /** A topic that is not there yet will be made with one. */
  static int partitionCountOf(Client client, String topic) {
    try {
      GetTopicRequest request = GetTopicRequest.newBuilder().setName(topic).build();
      return Math.max(1, client.admin().getTopic(request).getTopic().getPartitionCount());
    } catch (StatusRuntimeException thrown) {
      SluiceException error = SluiceException.from(thrown);
      if (!error.reason().equals("TOPIC_NOT_FOUND")) throw error;
      return 1;
    }
  }
}
