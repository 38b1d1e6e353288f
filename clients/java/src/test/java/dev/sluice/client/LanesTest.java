package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sluice.v1.Ordering;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class LanesTest {
  private final Lanes lanes = new Lanes(true);

  @Test
  void oneAtATimeOfAPartitionAndPartitionsInTurn() {
    add(0, 0, "a");
    add(0, 1, "b");
    add(1, 0, "c");
    Delivery first = take("0/0");
    Delivery other = take("1/0");
    assertNull(lanes.take());
    lanes.finished(first);
    take("0/1");
    lanes.finished(other);
    assertNull(lanes.take());
  }

  @Test
  void oneAtATimeOfAKeyAndMessagesWithoutAKeyAreFree() {
    lanes.order(Ordering.ORDERING_KEY);
    add(0, 0, "a");
    add(0, 1, "a");
    add(0, 2, "b");
    add(0, 3, "");
    add(0, 4, "");
    Delivery a = take("0/0");
    take("0/2");
    take("0/3");
    take("0/4");
    assertNull(lanes.take());
    lanes.finished(a);
    take("0/1");
  }

  @Test
  void anythingGoesWithoutOrder() {
    lanes.order(Ordering.ORDERING_NONE);
    add(0, 0, "a");
    add(0, 1, "a");
    take("0/0");
    take("0/1");
  }

  @Test
  void aPausedLaneBeginsNothingUntilItIsResumed() {
    add(0, 0, "a");
    add(0, 1, "a");
    Delivery failed = take("0/0");
    Lane paused = lanes.pause(failed);
    lanes.finished(failed);
    assertNull(lanes.take());
    lanes.resume(paused);
    take("0/1");
  }

  @Test
  void dropsWhatWasTakenBackAndNothingElse() {
    for (int offset = 0; offset < 5; offset++) add(0, offset, "a");
    add(1, 2, "a");
    List<String> dropped = new ArrayList<>();
    lanes.drop(0, 1, 3, delivery -> dropped.add(nameOf(delivery)));
    assertEquals(List.of("0/1", "0/2", "0/3"), dropped);
    assertEquals(3, lanes.queuedCount());
    Delivery first = take("0/0");
    take("1/2");
    lanes.finished(first);
    take("0/4");
  }

  @Test
  void aHandlerKeepsItsLaneBusyPastTheEndOfItsSession() {
    lanes.order(Ordering.ORDERING_KEY);
    add(0, 0, "a");
    add(0, 1, "a");
    Delivery old = take("0/0");
    lanes.clear(delivery -> assertEquals("0/1", nameOf(delivery)));
    assertEquals(0, lanes.queuedCount());
    add(0, 0, "a");
    assertNull(lanes.take());
    lanes.finished(old);
    take("0/0");
  }

  @Test
  void whoeverIteratesKeepsNoLaneBusyAndANackPausesAllTheSame() {
    Lanes iterated = new Lanes(false);
    iterated.order(Ordering.ORDERING_KEY);
    for (int offset = 0; offset < 3; offset++) iterated.add(delivery(0, offset, "a"));
    Delivery first = iterated.take();
    iterated.take();
    Lane paused = iterated.pause(first);
    assertNull(iterated.take());
    iterated.resume(paused);
    assertEquals("0/2", nameOf(iterated.take()));
    // The lane was removed meanwhile.
    paused = iterated.pause(first);
    iterated.add(delivery(0, 3, "a"));
    assertNull(iterated.take());
    iterated.resume(paused);
    assertEquals("0/3", nameOf(iterated.take()));
  }

  @Test
  void countsWhatMayBegin() {
    add(0, 0, "a");
    add(0, 1, "a");
    add(3, 0, "a");
    assertEquals(2, lanes.readyCount());
    take("0/0");
    assertEquals(1, lanes.readyCount());
    assertTrue(lanes.queuedCount() == 2);
  }

  private void add(int partition, long offset, String key) {
    lanes.add(delivery(partition, offset, key));
  }

  private Delivery take(String name) {
    Delivery delivery = lanes.take();
    assertEquals(name, nameOf(delivery));
    return delivery;
  }

  private static String nameOf(Delivery delivery) {
    return delivery == null ? "nothing" : delivery.partition() + "/" + delivery.offset();
  }

  static Delivery delivery(int partition, long offset, String key) {
    byte[] frame =
        dev.sluice.v1.Message.newBuilder()
            .setKey(com.google.protobuf.ByteString.copyFromUtf8(key))
            .build()
            .toByteArray();
    Run run = new Run(frame);
    run.partition = partition;
    run.firstOffset = offset;
    run.add(0, frame.length);
    return new Delivery(null, run, 0);
  }
}
