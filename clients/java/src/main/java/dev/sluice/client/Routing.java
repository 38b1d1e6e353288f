package dev.sluice.client;

import com.google.protobuf.ByteString;
import dev.sluice.v1.OffsetRange;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Computes the places of the messages of a batch. */
final class Routing {
  /**
   * The hash of a message without a key. The broker puts all such messages of a request into one
   * partition.
   */
  static final long KEYLESS = -1;

  private Routing() {}

  /**
   * The hash of a key: 32-bit FNV-1a, then the finalizer of MurmurHash3. The hash is a part of the
   * protocol and must not change.
   *
   * @return the hash, unsigned; or KEYLESS
   */
  static long hashOf(ByteString key) {
    if (key.isEmpty()) return KEYLESS;
    int hash = 0x811c9dc5;
    for (int i = 0; i < key.size(); i++) hash = (hash ^ (key.byteAt(i) & 0xff)) * 0x01000193;
    hash = (hash ^ (hash >>> 16)) * 0x85ebca6b;
    hash = (hash ^ (hash >>> 13)) * 0xc2b2ae35;
    return (hash ^ (hash >>> 16)) & 0xffffffffL;
  }

  /** Partition and offset of each message of a batch. Never compared. */
  @SuppressWarnings("ArrayRecordComponent")
  record Places(int[] partitions, long[] offsets) {}

  /**
   * The places of messages, from the ranges of a receipt. In each partition the messages are in
   * their order. The messages without a key are in the partition that has more messages than its
   * keys explain. Null if the ranges contradict the number of partitions, because it has grown.
   *
   * @param hashes the hashes of the keys of the messages
   */
  static @Nullable Places placesOf(long[] hashes, List<OffsetRange> ranges, int partitionCount) {
    int[] partitions = new int[hashes.length];
    if (ranges.size() == 1) {
      if (countOf(ranges.get(0)) != hashes.length) return null;
      Arrays.fill(partitions, ranges.get(0).getPartition());
    } else if (!route(partitions, hashes, ranges, partitionCount)) {
      return null;
    }
    return new Places(partitions, offsetsOf(partitions, ranges));
  }

  private static boolean route(
      int[] partitions, long[] hashes, List<OffsetRange> ranges, int partitionCount) {
    int keylessCount = 0;
    int largest = partitionCount - 1;
    for (OffsetRange range : ranges) largest = Math.max(largest, range.getPartition());
    long[] left = new long[largest + 1];
    for (OffsetRange range : ranges) left[range.getPartition()] += countOf(range);
    for (int i = 0; i < hashes.length; i++) {
      partitions[i] = hashes[i] == KEYLESS ? -1 : (int) (hashes[i] % partitionCount);
      if (partitions[i] < 0) keylessCount++;
      else left[partitions[i]]--;
    }
    int keyless = -1;
    for (int partition = 0; partition < left.length; partition++) {
      if (left[partition] == 0) continue;
      if (keyless >= 0 || left[partition] != keylessCount) return false;
      keyless = partition;
    }
    if (keyless < 0 && keylessCount > 0) return false;
    for (int i = 0; i < partitions.length; i++) if (partitions[i] < 0) partitions[i] = keyless;
    return true;
  }

  private static long[] offsetsOf(int[] partitions, List<OffsetRange> ranges) {
    int largest = 0;
    for (OffsetRange range : ranges) largest = Math.max(largest, range.getPartition());
    // For each partition, the index of its current range, and the next offset in it.
    int[] at = new int[largest + 1];
    long[] next = new long[largest + 1];
    Arrays.fill(at, -1);
    long[] offsets = new long[partitions.length];
    for (int i = 0; i < partitions.length; i++) {
      int partition = partitions[i];
      if (at[partition] < 0 || next[partition] > ranges.get(at[partition]).getLastOffset()) {
        do at[partition]++;
        while (ranges.get(at[partition]).getPartition() != partition);
        next[partition] = ranges.get(at[partition]).getFirstOffset();
      }
      offsets[i] = next[partition]++;
    }
    return offsets;
  }

  private static long countOf(OffsetRange range) {
    return range.getLastOffset() - range.getFirstOffset() + 1;
  }
}
