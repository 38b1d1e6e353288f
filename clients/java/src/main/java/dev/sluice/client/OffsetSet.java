package dev.sluice.client;

import dev.sluice.v1.OffsetRange;
import java.util.Arrays;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A set of offsets by partition, which is sent as ranges. Offsets that are added in order extend
 * the last range.
 */
final class OffsetSet {
  private @Nullable Ranges[] byPartition = new @Nullable Ranges[8];
  private int pieceCount;

  private static final class Ranges {
    long[] firsts = new long[4];
    long[] lasts = new long[4];
    int count;
  }

  void add(int partition, long offset) {
    if (partition >= byPartition.length)
      byPartition = Arrays.copyOf(byPartition, Math.max(partition + 1, 2 * byPartition.length));
    Ranges ranges = byPartition[partition];
    if (ranges == null) ranges = byPartition[partition] = new Ranges();
    int at = ranges.count - 1;
    if (at >= 0 && ranges.lasts[at] + 1 == offset) {
      ranges.lasts[at] = offset;
      return;
    }
    if (ranges.count == ranges.firsts.length) {
      ranges.firsts = Arrays.copyOf(ranges.firsts, 2 * ranges.count);
      ranges.lasts = Arrays.copyOf(ranges.lasts, 2 * ranges.count);
    }
    ranges.firsts[ranges.count] = offset;
    ranges.lasts[ranges.count++] = offset;
    pieceCount++;
  }

  /** Removes a range of offsets, and returns how many of them were in the set. */
  long remove(int partition, long first, long last) {
    Ranges before = partition < byPartition.length ? byPartition[partition] : null;
    if (before == null) return 0;
    byPartition[partition] = null;
    pieceCount -= before.count;
    long removed = 0;
    for (int i = 0; i < before.count; i++) {
      long from = before.firsts[i];
      long to = before.lasts[i];
      if (to < first || from > last) {
        addRange(partition, from, to);
        continue;
      }
      removed += Math.min(to, last) - Math.max(from, first) + 1;
      if (from < first) addRange(partition, from, first - 1);
      if (to > last) addRange(partition, last + 1, to);
    }
    return removed;
  }

  private void addRange(int partition, long first, long last) {
    add(partition, first);
    Ranges ranges = byPartition[partition];
    ranges.lasts[ranges.count - 1] = last;
  }

  /** An upper limit of the number of ranges. */
  int pieceCount() {
    return pieceCount;
  }

  /** Calls the action with the smallest number of ranges. */
  void forEachRange(Consumer<OffsetRange> action) {
    for (int partition = 0; partition < byPartition.length; partition++) {
      Ranges ranges = byPartition[partition];
      if (ranges == null) continue;
      sort(ranges);
      long first = ranges.firsts[0];
      long last = ranges.lasts[0];
      for (int i = 1; i < ranges.count; i++) {
        if (ranges.firsts[i] > last + 1) {
          action.accept(range(partition, first, last));
          first = ranges.firsts[i];
        }
        last = Math.max(last, ranges.lasts[i]);
      }
      action.accept(range(partition, first, last));
    }
  }

  private static void sort(Ranges ranges) {
    boolean isSorted = true;
    for (int i = 1; i < ranges.count && isSorted; i++)
      isSorted = ranges.firsts[i - 1] <= ranges.firsts[i];
    if (isSorted) return;
    long[][] pairs = new long[ranges.count][];
    for (int i = 0; i < ranges.count; i++)
      pairs[i] = new long[] {ranges.firsts[i], ranges.lasts[i]};
    Arrays.sort(pairs, (a, b) -> Long.compare(a[0], b[0]));
    for (int i = 0; i < ranges.count; i++) {
      ranges.firsts[i] = pairs[i][0];
      ranges.lasts[i] = pairs[i][1];
    }
  }

  private static OffsetRange range(int partition, long first, long last) {
    return OffsetRange.newBuilder()
        .setPartition(partition)
        .setFirstOffset(first)
        .setLastOffset(last)
        .build();
  }
}
