package dev.sluice.client;

/**
 * How much may be outstanding. Begins with little, so that idle consumers share a burst; doubles as
 * often as all of it is settled within a second; and is about what is settled in a second, with
 * headroom, so that a fast consumer is never short and a slow one does not hoard what others could
 * do. Ticks every TICK_MS; the last ten of them are its memory. Guarded by its owner's lock.
 */
final class Credit {
  static final long TICK_MS = 100;
  private static final int TICKS_PER_SECOND = 10;
  private static final int LEAST = 16;

  /** Credit is this many seconds' worth. */
  private static final double HEADROOM = 2;

  private final int least;
  private final int most;
  private int granted;
  private final long[] settledInTick = new long[TICKS_PER_SECOND];
  private final boolean[] wasBusyInTick = new boolean[TICKS_PER_SECOND];
  private int tick;
  private int ticksKnown;
  private long settledNow;

  /** Since the credit was changed last, or all of it was settled. */
  private long settledSince;

  private int busyTicksSince;

  Credit(int most, int concurrency) {
    this.most = most;
    this.least = Math.min(most, Math.max(LEAST, 2 * concurrency));
    this.granted = least;
  }

  int granted() {
    return granted;
  }

  /** True where there is more credit now. */
  boolean settled() {
    settledNow++;
    settledSince++;
    if (settledSince < granted || granted == most) return false;
    boolean isQuick = busyTicksSince <= TICKS_PER_SECOND;
    change(isQuick ? (int) Math.min(2L * granted, most) : granted);
    return isQuick;
  }

  /**
   * For a caller that has `held` and wants more before it settles any. True where there is more
   * credit now.
   */
  boolean starves(int held) {
    if (granted == most || held < granted) return false;
    change((int) Math.min(2L * held, most));
    return true;
  }

  private void change(int credit) {
    granted = credit;
    settledSince = 0;
    busyTicksSince = 0;
  }

  /**
   * A tick is over. `isBusy`: there was something to do, so that the speed is that of processing
   * and not that of producers.
   */
  void tick(boolean isBusy) {
    settledInTick[tick] = settledNow;
    wasBusyInTick[tick] = isBusy;
    settledNow = 0;
    if (isBusy) busyTicksSince++;
    tick = (tick + 1) % TICKS_PER_SECOND;
    ticksKnown = Math.min(ticksKnown + 1, TICKS_PER_SECOND);
    long settled = 0;
    boolean wasBusy = ticksKnown == TICKS_PER_SECOND;
    for (int i = 0; i < ticksKnown; i++) {
      settled += settledInTick[i];
      wasBusy &= wasBusyInTick[i];
    }
    double perSecond = (double) settled * TICKS_PER_SECOND / ticksKnown;
    int wanted = (int) Math.max(least, Math.min(most, HEADROOM * perSecond));
    // The broker is told of much only: the rest is noise.
    boolean isMuchMore = wanted > granted + granted / 4 || wanted == most;
    boolean isMuchLess = wanted < granted / 2 || wanted == least;
    if (wanted != granted && (wanted > granted ? isMuchMore : wasBusy && isMuchLess))
      change(wanted);
  }
}
