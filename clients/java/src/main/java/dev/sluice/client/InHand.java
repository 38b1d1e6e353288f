package dev.sluice.client;

import java.util.function.Consumer;

/**
 * Deliveries that were handed out and are not settled: a linked list through the deliveries.
 * Guarded by its owner's lock.
 */
final class InHand {
  private Delivery first;
  private int count;

  int count() {
    return count;
  }

  void add(Delivery delivery) {
    delivery.state = Delivery.State.IN_HAND;
    delivery.nextInHand = first;
    if (first != null) first.previousInHand = delivery;
    first = delivery;
    count++;
  }

  void remove(Delivery delivery, Delivery.State state) {
    delivery.state = state;
    if (delivery.previousInHand == null) first = delivery.nextInHand;
    else delivery.previousInHand.nextInHand = delivery.nextInHand;
    if (delivery.nextInHand != null) delivery.nextInHand.previousInHand = delivery.previousInHand;
    delivery.previousInHand = null;
    delivery.nextInHand = null;
    count--;
  }

  /** The action may remove what it is given. */
  void forEach(Consumer<Delivery> action) {
    for (Delivery at = first, next; at != null; at = next) {
      next = at.nextInHand;
      action.accept(at);
    }
  }
}
