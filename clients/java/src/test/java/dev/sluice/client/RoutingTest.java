package dev.sluice.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import com.google.protobuf.ByteString;
import dev.sluice.v1.OffsetRange;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class RoutingTest {
  private static final long KEYLESS = Routing.KEYLESS;

  /** The values of the test of the broker. They must not change. */
  @Test
  void hashesKeysAsTheBrokerDoes() {
    Map<String, Long> vectors =
        Map.of(
            "a",
            444641715L,
            "b",
            2193908274L,
            "order-1",
            2449496732L,
            "order-2",
            2010665664L,
            "\u0000",
            91794203L,
            "schlüssel",
            1660859099L,
            "0123456789".repeat(10),
            2144348767L);
    vectors.forEach(
        (key, hash) -> assertEquals(hash, Routing.hashOf(ByteString.copyFromUtf8(key)), key));
    assertEquals(KEYLESS, Routing.hashOf(ByteString.EMPTY));
  }

  @Test
  void oneRangeTakesAll() {
    Routing.Places places =
        Routing.placesOf(new long[] {7, KEYLESS, 3}, List.of(range(5, 10, 12)), 8);
    assertArrayEquals(new int[] {5, 5, 5}, places.partitions());
    assertArrayEquals(new long[] {10, 11, 12}, places.offsets());
  }

  @Test
  void keysAreWhereTheirHashSaysAndTheRestIsWhereMoreIsThanKeysExplain() {
    long[] hashes = {4, 1, KEYLESS, 5, KEYLESS};
    Routing.Places places =
        Routing.placesOf(hashes, List.of(range(0, 100, 100), range(1, 7, 8), range(2, 50, 51)), 4);
    assertArrayEquals(new int[] {0, 1, 2, 1, 2}, places.partitions());
    assertArrayEquals(new long[] {100, 7, 50, 8, 51}, places.offsets());
  }

  @Test
  void keylessMayShareThePartitionOfAKey() {
    Routing.Places places =
        Routing.placesOf(new long[] {KEYLESS, 1, 0}, List.of(range(0, 3, 3), range(1, 8, 9)), 2);
    assertArrayEquals(new int[] {1, 1, 0}, places.partitions());
    assertArrayEquals(new long[] {8, 9, 3}, places.offsets());
  }

  @Test
  void goesOnInTheNextRangeOfAPartition() {
    long[] hashes = {0, 0, 1, 0};
    Routing.Places places =
        Routing.placesOf(hashes, List.of(range(0, 4, 5), range(0, 9, 9), range(1, 0, 0)), 2);
    assertArrayEquals(new long[] {4, 5, 0, 9}, places.offsets());
  }

  @Test
  void saysThatTheTopicHasGrown() {
    // Hash 3 is in partition 1 of two, and in partition 3 of four.
    assertNull(Routing.placesOf(new long[] {3, 2}, List.of(range(2, 0, 0), range(3, 0, 0)), 2));
    assertNull(Routing.placesOf(new long[] {3, 2}, List.of(range(0, 0, 2)), 2));
  }

  private static OffsetRange range(int partition, long first, long last) {
    return OffsetRange.newBuilder()
        .setPartition(partition)
        .setFirstOffset(first)
        .setLastOffset(last)
        .build();
  }
}
