package dev.sluice.client;

import com.google.protobuf.ByteString;
import dev.sluice.v1.Durability;
import dev.sluice.v1.OffsetRange;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** Messages that travel in one request, encoded already. */
final class Batch {
  /** What a message takes besides its bytes, about: its future and receipt. */
  static final int OVERHEAD_BYTES = 64;

  private byte[] buffer;
  private int byteLength;
  private final ArrayList<CompletableFuture<Receipt>> receipts;

  /** Of the keys; null while no message has one. */
  private long[] hashes;

  /**
   * Of its first message; given when the batch is sent, the same again when it is sent again,
   * unless the epoch is new.
   */
  long firstSequence;

  /** Were sent in this epoch and not answered: each may still arrive at the broker. */
  int copies;

  /**
   * How often in a row it was alone under way when the stream ended with a bare RESOURCE_EXHAUSTED.
   */
  int bareRefusals;

  /** When it has been tried for long enough, by System.nanoTime. */
  long expiresAtNanos;

  /** The results of its messages have been reported. */
  boolean isReported;

  /** Completed once the results of it and of all batches before it have been reported. */
  CompletableFuture<Void> flushed;

  Batch(int expectedBytes, int expectedCount) {
    buffer = new byte[expectedBytes];
    receipts = new ArrayList<>(expectedCount);
  }

  /** `size` as of MessageWriter. */
  void add(Message message, int size, CompletableFuture<Receipt> receipt) {
    int more = MessageWriter.sizeInBatch(size);
    if (byteLength + more > buffer.length)
      buffer = Arrays.copyOf(buffer, Math.max(byteLength + more, 2 * buffer.length));
    MessageWriter.write(message, size, buffer, byteLength);
    byteLength += more;
    noteKey(message.key());
    receipts.add(receipt);
  }

  private void noteKey(ByteString key) {
    if (key.isEmpty() && hashes == null) return;
    int index = receipts.size();
    if (hashes == null) {
      hashes = new long[Math.max(16, index + 1)];
      Arrays.fill(hashes, 0, index, Routing.KEYLESS);
    } else if (index == hashes.length) {
      hashes = Arrays.copyOf(hashes, 2 * index);
    }
    hashes[index] = Routing.hashOf(key);
  }

  int count() {
    return receipts.size();
  }

  int byteLength() {
    return byteLength;
  }

  /** What it counts for in the producer's buffer. */
  long bufferedBytes() {
    return byteLength + (long) OVERHEAD_BYTES * receipts.size();
  }

  byte[] buffer() {
    return buffer;
  }

  long lastSequence() {
    return firstSequence + receipts.size() - 1;
  }

  /**
   * Places of those behind the first `skipped`, or null where the ranges contradict the number of
   * partitions.
   */
  Routing.Places placesOf(int skipped, List<OffsetRange> ranges, int partitionCount) {
    long[] stored;
    if (hashes == null) {
      stored = new long[receipts.size() - skipped];
      Arrays.fill(stored, Routing.KEYLESS);
    } else {
      stored = Arrays.copyOfRange(hashes, skipped, receipts.size());
    }
    return Routing.placesOf(stored, ranges, partitionCount);
  }

  /** All of it is durable; those before `skipped` were so before. Places may be null: unknown. */
  void complete(int skipped, Routing.Places places, Durability durability) {
    for (int i = 0; i < receipts.size(); i++) {
      if (i < skipped) {
        receipts.get(i).complete(Receipt.DUPLICATE);
        continue;
      }
      int partition = places == null ? -1 : places.partitions()[i - skipped];
      long offset = places == null ? -1 : places.offsets()[i - skipped];
      receipts.get(i).complete(new Receipt(partition, offset, durability, false));
    }
  }

  /** All of it is durable, and the answer that said where was lost. */
  void completeAsDuplicates() {
    for (CompletableFuture<Receipt> receipt : receipts) receipt.complete(Receipt.DUPLICATE);
  }

  void fail(SluiceException error) {
    for (CompletableFuture<Receipt> receipt : receipts) receipt.completeExceptionally(error);
  }
}
