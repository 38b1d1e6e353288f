package dev.sluice.client;

/**
 * The message credit of a consumer. The credit begins small, so that idle consumers share a burst.
 * It doubles each time when all of it is settled within a second. Otherwise it follows the number
 * of messages that are settled in a second, with headroom: so a fast consumer always has credit,
 * and a slow consumer does not hold messages that other consumers could handle. It is computed
 * every TICK_MS from the last ten ticks. Guarded by the lock of the inbox.
 */
final class Credit {
  static final long TICK_MS = 100;
  private static final int TICKS_PER_SECOND = 10;
  private static final int LEAST = 16;

  /** The credit is the number of messages of this many seconds. */
  private static final double HEADROOM = 2;

  private final int least;
  private final int most;
  private int granted;
  private final long[] settledInTick = new long[TICKS_PER_SECOND];
  private final boolean[] wasBusyInTick = new boolean[TICKS_PER_SECOND];
  private int tick;
  private int ticksKnown;
  private long settledNow;

  /** The messages settled since the credit changed, or since all of it was settled. */
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

  /** One message is settled. True if the credit has grown. */
  boolean settled() {
    settledNow++;
    settledSince++;
    if (settledSince < granted || granted == most) return false;
    boolean isQuick = busyTicksSince <= TICKS_PER_SECOND;
    change(isQuick ? (int) Math.min(2L * granted, most) : granted);
    return isQuick;
  }

  /**
   * For a caller that holds `held` messages and wants more before it settles any. True if the
   * credit has grown.
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
   * A tick is over. `isBusy`: the consumer held messages, so the speed is that of the consumer and
   * not that of the producers.
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
    // Ignores small changes, which are noise.
    boolean isMuchMore = wanted > granted + granted / 4 || wanted == most;
    boolean isMuchLess = wanted < granted / 2 || wanted == least;
    if (wanted != granted && (wanted > granted ? isMuchMore : wasBusy && isMuchLess))
      change(wanted);
  }
}
