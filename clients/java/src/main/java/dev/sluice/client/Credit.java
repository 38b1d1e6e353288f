package dev.sluice.client;

/**
 * How much may be outstanding: about what is settled in a second, with headroom, so that a fast consumer is never short and a slow
 * one does not hoard what others could do. Ticks every TICK_MS; the last ten of them are its memory. Guarded by its owner's lock.
 */
final class Credit {
  static final long TICK_MS = 100;
  private static final int TICKS_PER_SECOND = 10;
  private static final int LEAST = 16;
  private static final int FIRST = 1_000;
  /** Credit is this many seconds' worth. */
  private static final double HEADROOM = 2;

  private final int most;
  private int granted;
  private final long[] settledInTick = new long[TICKS_PER_SECOND];
  private final boolean[] wasBusyInTick = new boolean[TICKS_PER_SECOND];
  private int tick;
  private int ticksKnown;
  private long settledNow;

  Credit(int most) {
    this.most = most;
    this.granted = Math.min(most, FIRST);
  }

  int granted() {
    return granted;
  }

  void settled() {
    settledNow++;
  }

  /** A tick is over. `isBusy`: there was something to do, so that the speed is that of processing and not that of producers. */
  void tick(boolean isBusy) {
    settledInTick[tick] = settledNow;
    wasBusyInTick[tick] = isBusy;
    settledNow = 0;
    tick = (tick + 1) % TICKS_PER_SECOND;
    ticksKnown = Math.min(ticksKnown + 1, TICKS_PER_SECOND);
    long settled = 0;
    boolean wasBusy = ticksKnown == TICKS_PER_SECOND;
    for (int i = 0; i < ticksKnown; i++) {
      settled += settledInTick[i];
      wasBusy &= wasBusyInTick[i];
    }
    double perSecond = (double) settled * TICKS_PER_SECOND / ticksKnown;
    int least = Math.min(LEAST, most);
    int wanted = (int) Math.max(least, Math.min(most, HEADROOM * perSecond));
    // The broker is told of much only: the rest is noise.
    boolean isMuchMore = wanted > granted + granted / 4 || wanted == most;
    boolean isMuchLess = wanted < granted / 2 || wanted == least;
    if (wanted > granted ? isMuchMore : wasBusy && isMuchLess) granted = wanted;
  }
}
