package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** Batches get other numbers only in a new epoch. */
class BatchesTest {
  private final Batches batches = new Batches(new ProducerPosition(7, 10));

  private Batch add(int count) {
    Batch batch = new Batch(100, count);
    for (int i = 0; i < count; i++)
      batch.add(Message.of("m"), MessageWriter.sizeOf(Message.of("m")), new CompletableFuture<>());
    batches.open(batch);
    batches.close();
    return batch;
  }

  @Test
  void whatIsSentAgainKeepsItsNumber() {
    Batch first = add(2);
    Batch second = add(1);
    assertEquals(first, batches.send());
    assertEquals(second, batches.send());
    assertEquals(13, second.firstSequence);
    batches.takeBack();
    assertEquals(List.of(first), batches.takeStored(new ProducerPosition(7, 12)));
    assertTrue(batches.resume(new ProducerPosition(7, 12)));
    assertEquals(second, batches.send());
    assertEquals(13, second.firstSequence);
    assertEquals(2, second.copies);
  }

  @Test
  void whatIsBehindARefusedBatchIsFencedBeforeItGetsAnotherNumber() {
    Batch refused = add(2);
    Batch behind = add(1);
    batches.send();
    batches.send();
    refused.copies--; // The broker has answered it.
    batches.takeBack();
    batches.drop();
    assertEquals(0, batches.renewalId());
    assertFalse(batches.resume(new ProducerPosition(7, 10)));
    assertNotEquals(0, batches.renewalId());
    assertTrue(batches.resume(new ProducerPosition(8, 10)));
    assertEquals(8, batches.epoch());
    batches.send();
    assertEquals(11, behind.firstSequence);
  }

  @Test
  void whatWasSentAndExpiresIsFencedAndWhatWasNotSentIsNot() {
    Batch sent = add(1);
    Batch waiting = add(1);
    sent.expiresAtNanos = 20;
    waiting.expiresAtNanos = 10;
    batches.send();
    assertEquals(10, batches.nextExpiryNanos(0));
    assertEquals(List.of(waiting), batches.expire(15));
    assertEquals(0, batches.renewalId());
    assertEquals(List.of(sent), batches.expire(25));
    assertNotEquals(0, batches.renewalId());
    assertTrue(batches.isEmpty());
  }
}
