package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class CreditTest {
  @Test
  void beginsSmallAndNeverAboveTheMost() {
    assertEquals(16, new Credit(10_000, 1).granted());
    assertEquals(40, new Credit(10_000, 20).granted());
    assertEquals(50, new Credit(50, 100).granted());
  }

  @Test
  void doublesAsOftenAsAllOfItIsSettledWithinASecond() {
    Credit credit = new Credit(1_000, 1);
    for (int wanted = 32; wanted < 1_000; wanted *= 2) {
      for (int left = credit.granted() - 1; left > 0; left--) assertFalse(credit.settled());
      assertTrue(credit.settled());
      assertEquals(wanted, credit.granted());
    }
    for (int i = 0; i < 1_000; i++) credit.settled();
    assertEquals(1_000, credit.granted());
  }

  @Test
  void doesNotDoubleForASlowHandler() {
    Credit credit = new Credit(1_000, 1);
    for (int i = 0; i < 15; i++) {
      credit.tick(true);
      credit.settled();
    }
    assertFalse(credit.settled());
    assertTrue(credit.granted() <= 20, "credit " + credit.granted());
  }

  @Test
  void growsToTheMostWithinASecondOfFastSettling() {
    Credit credit = new Credit(10_000, 1);
    play(credit, 10_000, true, 10);
    assertEquals(10_000, credit.granted());
  }

  @Test
  void shrinksToTwoSecondsOfASlowHandlerAndNotBelowSixteen() {
    Credit credit = new Credit(10_000, 1);
    play(credit, 10, true, 20);
    assertEquals(200, credit.granted());
    play(credit, 0, true, 20);
    assertEquals(16, credit.granted());
  }

  @Test
  void staysWhereThereIsNothingToDo() {
    Credit credit = new Credit(10_000, 1);
    play(credit, 10_000, true, 10);
    play(credit, 0, false, 100);
    assertEquals(10_000, credit.granted());
  }

  @Test
  void growsAgainWhenTheHandlerIsFastAgain() {
    Credit credit = new Credit(10_000, 1);
    play(credit, 1, true, 30);
    int slow = credit.granted();
    play(credit, 500, true, 5);
    assertTrue(slow <= 40 && credit.granted() > 4_000, slow + " → " + credit.granted());
  }

  @Test
  void isSteadyAtASteadySpeed() {
    Credit credit = new Credit(10_000, 1);
    play(credit, 100, true, 20);
    int before = credit.granted();
    for (int i = 0; i < 100; i++) {
      play(credit, 80 + (i % 5) * 10, true, 1);
      assertEquals(before, credit.granted(), "tick " + i);
    }
  }

  private static void play(Credit credit, int settledPerTick, boolean isBusy, int ticks) {
    for (int i = 0; i < ticks; i++) {
      for (int n = 0; n < settledPerTick; n++) credit.settled();
      credit.tick(isBusy);
    }
  }
}
