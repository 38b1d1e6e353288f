package dev.sluice.client;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Detects two handlers at once for one partition or key, and messages out of order. */
final class LaneWatch {
  private final CountDownLatch left;
  private final Set<String> running = new HashSet<>();
  private final Map<String, Integer> last = new HashMap<>();
  private final List<String> problems = new ArrayList<>();
  private int most;

  LaneWatch(int count) {
    left = new CountDownLatch(count);
  }

  synchronized void begun(String lane, int number) {
    if (!running.add(lane)) problems.add("two handlers at once for " + lane);
    Integer before = last.put(lane, number);
    if (before != null && before >= number)
      problems.add(number + " of " + lane + " after " + before);
    most = Math.max(most, running.size());
  }

  synchronized void ended(String lane) {
    running.remove(lane);
    left.countDown();
  }

  /** The errors, after the expected number of handlers has ended. */
  List<String> problemsOnceAllEnded() throws InterruptedException {
    boolean isDone = left.await(60, TimeUnit.SECONDS);
    synchronized (this) {
      if (!isDone) problems.add(left.getCount() + " were not handled");
      return List.copyOf(problems);
    }
  }

  /** The maximum number of handlers that ran at once. */
  synchronized int most() {
    return most;
  }
}
