package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.sluice.v1.AcknowledgeResponse;
import dev.sluice.v1.ConsumeRequest;
import dev.sluice.v1.OffsetRange;
import dev.sluice.v1.Settlement;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

class SettlementsTest {
  private final List<ConsumeRequest> sent = new ArrayList<>();
  private final Settlements settlements = new Settlements(sent::add);

  @Test
  void gathersAcknowledgementsIntoRangesByPartition() {
    for (long offset : new long[] {5, 6, 7, 1, 2, 9, 8}) ack(0, offset);
    ack(3, 4);
    assertEquals(0, sent.size());
    settlements.flush();
    assertEquals(List.of("0:1-2 ACK", "0:5-9 ACK", "3:4-4 ACK"), textOf(sent.get(0)));
    settlements.flush();
    assertEquals(1, sent.size());
  }

  @Test
  void sendsAcknowledgementsAloneAndBeforeANack() {
    ack(0, 0);
    Delivery failed = LanesTest.delivery(0, 1, "");
    Settlement nack = SettlementOf.nack(null, "no").apply(failed.settlement()).build();
    settlements.submit(List.of(nack), List.of(), null);
    assertEquals(List.of("0:0-0 ACK"), textOf(sent.get(0)));
    assertEquals(List.of("0:1-1 NACK"), textOf(sent.get(1)));
  }

  @Test
  void tellsWhoWasTooLate() {
    List<CompletableFuture<Boolean>> results = new ArrayList<>();
    for (long offset = 0; offset < 5; offset++) results.add(ack(0, offset));
    results.add(ack(1, 2));
    settlements.flush();
    Settlements.Request request = settlements.settled(sent.get(0).getSettlementId());
    OffsetRange stale = OffsetRange.newBuilder().setFirstOffset(1).setLastOffset(2).build();
    request.answer(AcknowledgeResponse.newBuilder().addStale(stale).build());
    assertEquals(
        List.of(true, false, false, true, true, true),
        results.stream().map(CompletableFuture::join).toList());
    assertTrue(settlements.isIdle());
  }

  @Test
  void gathersWhileTheBrokerOwesManyAnswers() {
    for (long offset = 0; offset < 200; offset++) {
      ack(0, offset);
      settlements.flush();
    }
    int before = sent.size();
    assertTrue(before < 100, before + " requests without an answer");
    assertFalse(settlements.isIdle());
    settlements.settled(sent.get(0).getSettlementId());
    assertEquals(before + 1, sent.size());
    assertEquals(List.of("0:" + before + "-199 ACK"), textOf(sent.get(before)));
  }

  @Test
  void staysUnderTheBrokersLimitOfRanges() {
    for (long offset = 0; offset < 30_000; offset += 2) ack(0, offset);
    settlements.flush();
    int ranges = 0;
    for (ConsumeRequest request : sent) {
      assertTrue(request.getSettlementsCount() <= 10_000);
      ranges += request.getSettlementsCount();
    }
    assertEquals(15_000, ranges);
  }

  @Test
  void saysWhatNobodyAnswersAnyMore() {
    ack(0, 0);
    settlements.flush();
    ack(0, 1);
    assertEquals(
        2, settlements.abandon().stream().mapToInt(request -> request.waiters().size()).sum());
    assertTrue(settlements.isIdle());
  }

  @Test
  void cutsReasonsThatTheBrokerWouldRefuse() {
    Settlement.Builder settlement = LanesTest.delivery(0, 0, "").settlement();
    String reason =
        SettlementOf.nack(null, "x".repeat(999) + "🚀").apply(settlement).getNack().getReason();
    assertEquals("x".repeat(999), reason);
  }

  private CompletableFuture<Boolean> ack(int partition, long offset) {
    CompletableFuture<Boolean> result = new CompletableFuture<>();
    settlements.ack(LanesTest.delivery(partition, offset, ""), result);
    return result;
  }

  private static List<String> textOf(ConsumeRequest request) {
    return request.getSettlementsList().stream()
        .map(
            each ->
                each.getOffsets().getPartition()
                    + ":"
                    + each.getOffsets().getFirstOffset()
                    + "-"
                    + each.getOffsets().getLastOffset()
                    + " "
                    + each.getOutcomeCase())
        .toList();
  }
}
