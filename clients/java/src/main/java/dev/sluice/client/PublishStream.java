package dev.sluice.client;

import dev.sluice.v1.PublishStreamResponse;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;

/** One PublishStream call. Its owner gets the events in the thread of the connection. */
final class PublishStream extends ClientCall.Listener<PublishStreamResponse> {
  /** Gets the events in their order, from one thread at a time. */
  interface Owner {
    void mayWrite(PublishStream stream);

    void answered(PublishStream stream, PublishStreamResponse response);

    void closed(PublishStream stream, SluiceException error);
  }

  private final ClientCall<PublishRequest, PublishStreamResponse> call;
  private final Owner owner;

  PublishStream(Client client, Owner owner) {
    this.call = client.newStream(PublishRequest.METHOD);
    this.owner = owner;
  }

  void start() {
    call.start(this, new Metadata());
    // Answers are small, and there are no more of them than batches under way.
    call.request(Integer.MAX_VALUE);
  }

  boolean isReady() {
    return call.isReady();
  }

  void write(PublishRequest request) {
    call.sendMessage(request);
  }

  void halfClose() {
    call.halfClose();
  }

  void cancel() {
    call.cancel("given up by the producer", null);
  }

  @Override
  public void onReady() {
    owner.mayWrite(this);
  }

  @Override
  public void onMessage(PublishStreamResponse response) {
    owner.answered(this, response);
  }

  @Override
  public void onClose(Status status, Metadata trailers) {
    owner.closed(this, SluiceException.from(status.asRuntimeException(trailers)));
  }
}
