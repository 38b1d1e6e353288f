package dev.sluice.client;

import dev.sluice.v1.OffsetRange;
import dev.sluice.v1.Ordering;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The messages that a consumer holds: those that wait in lanes, and those that a handler or the
 * caller has (`in hand`). Guarded by the lock of the inbox.
 */
final class HeldMessages {
  private final Client client;
  private final Lanes lanes;
  private final InHand inHand = new InHand();

  /** `isExclusive`: a handler keeps its lane busy. */
  HeldMessages(Client client, boolean isExclusive) {
    this.client = client;
    this.lanes = new Lanes(isExclusive);
  }

  /** Sets the ordering of the subscription, before the first message of a session. */
  void order(Ordering ordering) {
    lanes.order(ordering);
  }

  void add(Session from, Run run) {
    for (int i = 0; i < run.count(); i++) lanes.add(new Delivery(from, run, i));
  }

  int count() {
    return lanes.queuedCount() + inHand.count();
  }

  int queuedCount() {
    return lanes.queuedCount();
  }

  int inHandCount() {
    return inHand.count();
  }

  /** The number of lanes that may begin a delivery. */
  int readyCount() {
    return lanes.readyCount();
  }

  /** Takes the next delivery, which is in hand from now on. Null if no lane may begin one. */
  @Nullable Delivery begin() {
    Delivery delivery = lanes.take();
    if (delivery != null) inHand.add(delivery);
    return delivery;
  }

  /** The delivery is settled: it is no longer in hand. */
  void settle(Delivery delivery) {
    inHand.remove(delivery, Delivery.State.SETTLED);
  }

  /** The handler of the delivery has ended: the lane may begin its next delivery. */
  void finished(Delivery delivery) {
    lanes.finished(delivery);
  }

  /** Stops the lane of the delivery until it is resumed. */
  Lane pause(Delivery delivery) {
    return lanes.pause(delivery);
  }

  /** The requests have their answers, or get none: the lanes that they paused continue. */
  void resume(List<Settlements.Request> requests) {
    for (Settlements.Request request : requests) {
      if (request.paused() != null) lanes.resume(request.paused());
    }
  }

  /** Revokes the messages of a range that the session delivered. */
  void revoke(Session from, OffsetRange range) {
    int partition = range.getPartition();
    long first = range.getFirstOffset();
    long last = range.getLastOffset();
    lanes.drop(partition, first, last, delivery -> delivery.state = Delivery.State.REVOKED);
    inHand.forEach(
        delivery -> {
          boolean isRevoked = delivery.session == from && delivery.partition() == partition;
          if (isRevoked && delivery.offset() >= first && delivery.offset() <= last) {
            revoke(delivery);
          }
        });
  }

  /** Revokes the messages that wait in lanes. */
  void revokeQueued() {
    lanes.clear(delivery -> delivery.state = Delivery.State.REVOKED);
  }

  /** Revokes the messages that are in hand. */
  void revokeInHand() {
    inHand.forEach(this::revoke);
  }

  private void revoke(Delivery delivery) {
    inHand.remove(delivery, Delivery.State.REVOKED);
    if (delivery.onRevoked != null) client.execute(delivery.onRevoked);
  }

  /** The offsets of all messages. */
  OffsetSet offsets() {
    OffsetSet offsets = new OffsetSet();
    lanes.forEachQueued(delivery -> offsets.add(delivery.partition(), delivery.offset()));
    inHand.forEach(delivery -> offsets.add(delivery.partition(), delivery.offset()));
    return offsets;
  }
}
