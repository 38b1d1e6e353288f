package dev.sluice.client;

import dev.sluice.v1.Settlement;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Settles deliveries that are in hand, and lets the credit grow. Guarded by the lock of the inbox.
 */
final class Settler {
  private final ConsumerBuilder settings;
  private final HeldMessages held;
  private final Credit credit;
  private final LockedTimer timer;

  Settler(ConsumerBuilder settings, HeldMessages held, Credit credit, LockedTimer timer) {
    this.settings = settings;
    this.held = held;
    this.credit = credit;
    this.timer = timer;
  }

  /** `result` is null if no caller waits for it. */
  void ack(Delivery delivery, @Nullable CompletableFuture<Boolean> result) {
    held.settle(delivery);
    Session session = delivery.session;
    grow(session);
    session.settlements.ack(delivery, result);
    // Many messages that wait for the interval would keep the broker from sending more.
    if (settings.ackIntervalMs == 0 || session.settlements.ackCount() >= credit.granted() / 4) {
      session.settlements.flush();
    } else if (!session.isAckTimerSet) {
      session.isAckTimerSet = true;
      timer.after(
          settings.ackIntervalMs,
          () -> {
            session.isAckTimerSet = false;
            session.settlements.flush();
          });
    }
  }

  /** Settles in another way than by an ack. */
  void settle(
      Delivery delivery,
      UnaryOperator<Settlement.Builder> outcome,
      boolean isNack,
      CompletableFuture<Boolean> result) {
    held.settle(delivery);
    grow(delivery.session);
    submit(delivery, outcome, isNack ? held.pause(delivery) : null, result);
  }

  void extend(
      Delivery delivery,
      UnaryOperator<Settlement.Builder> outcome,
      CompletableFuture<Boolean> result) {
    submit(delivery, outcome, null, result);
  }

  /** One more message is settled. A consumer that keeps up gets more credit. */
  private void grow(Session session) {
    if (credit.settled()) session.grant(credit.granted());
  }

  private static void submit(
      Delivery delivery,
      UnaryOperator<Settlement.Builder> outcome,
      @Nullable Lane paused,
      CompletableFuture<Boolean> result) {
    Settlements.Waiter waiter =
        new Settlements.Waiter(delivery.partition(), delivery.offset(), result);
    Settlement settlement = outcome.apply(delivery.settlement()).build();
    delivery.session.settlements.submit(List.of(settlement), List.of(waiter), paused);
  }
}
