package dev.sluice.client;

import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The deliveries that a handler or the caller has not settled yet, as a linked list of deliveries.
 * Guarded by the lock of the inbox.
 */
final class InHand {
  private @Nullable Delivery first;
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

  /** The action may remove its delivery from the list. */
  void forEach(Consumer<Delivery> action) {
    for (Delivery at = first, next; at != null; at = next) {
      next = at.nextInHand;
      action.accept(at);
    }
  }
}
