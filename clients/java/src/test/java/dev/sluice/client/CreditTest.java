package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class CreditTest {
  @Test
  void beginsSmallAndNeverAboveTheMost() {
    assertEquals(1_000, new Credit(10_000).granted());
    assertEquals(50, new Credit(50).granted());
  }

  @Test
  void growsToTheMostWithinASecondOfFastSettling() {
    Credit credit = new Credit(10_000);
    play(credit, 10_000, true, 10);
    assertEquals(10_000, credit.granted());
  }

  @Test
  void shrinksToTwoSecondsOfASlowHandlerAndNotBelowSixteen() {
    Credit credit = new Credit(10_000);
    play(credit, 10, true, 20);
    assertEquals(200, credit.granted());
    play(credit, 0, true, 20);
    assertEquals(16, credit.granted());
  }

  @Test
  void staysWhereThereIsNothingToDo() {
    Credit credit = new Credit(10_000);
    play(credit, 10_000, true, 10);
    play(credit, 0, false, 100);
    assertEquals(10_000, credit.granted());
  }

  @Test
  void growsAgainWhenTheHandlerIsFastAgain() {
    Credit credit = new Credit(10_000);
    play(credit, 1, true, 30);
    int slow = credit.granted();
    play(credit, 500, true, 5);
    assertTrue(slow <= 40 && credit.granted() > 4_000, slow + " → " + credit.granted());
  }

  @Test
  void isSteadyAtASteadySpeed() {
    Credit credit = new Credit(10_000);
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
