package dev.sluice.client;

import com.google.protobuf.ByteString;
import dev.sluice.v1.Durability;
import dev.sluice.v1.OffsetRange;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** The encoded messages of one request, with the futures of their receipts. */
final class Batch {
  /** The approximate memory of the future and the receipt of a message. */
  static final int OVERHEAD_BYTES = 64;

  private byte[] buffer;
  private int byteLength;
  private final ArrayList<CompletableFuture<Receipt>> receipts;

  /** The hashes of the keys. Null while no message has a key. */
  private long @Nullable [] hashes;

  /**
   * The sequence of the first message. Set when the batch is sent. The same when the batch is sent
   * again, unless the epoch has changed.
   */
  long firstSequence;

  /**
   * The copies that were sent in this epoch and not answered. Each of them may still reach the
   * broker.
   */
  int copies;

  /**
   * How many times in a row the batch was alone under way when the stream ended with a bare
   * RESOURCE_EXHAUSTED.
   */
  int bareRefusals;

  /** The time at which the batch expires, by System.nanoTime. 0 if there is no retry timeout. */
  long expiresAtNanos;

  /** The results of the messages have been reported. Guarded by UnreportedBatches. */
  boolean isReported;

  /**
   * Completes once the results of this batch and of all batches before it have been reported.
   * Guarded by UnreportedBatches.
   */
  @Nullable CompletableFuture<@Nullable Void> flushed;

  Batch(int expectedBytes, int expectedCount) {
    buffer = new byte[expectedBytes];
    receipts = new ArrayList<>(expectedCount);
  }

  /** `size` is the size of MessageWriter. */
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

  /** The bytes that the batch takes in the buffer of the producer. */
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
   * The places of the messages behind the first `skipped`. Null if the ranges contradict the number
   * of partitions.
   */
  Routing.@Nullable Places placesOf(int skipped, List<OffsetRange> ranges, int partitionCount) {
    long[] stored;
    if (hashes == null) {
      stored = new long[receipts.size() - skipped];
      Arrays.fill(stored, Routing.KEYLESS);
    } else {
      stored = Arrays.copyOfRange(hashes, skipped, receipts.size());
    }
    return Routing.placesOf(stored, ranges, partitionCount);
  }

  /**
   * Completes the receipts: all messages are durable. The first `skipped` messages were durable
   * before. `places` is null if the places are unknown.
   */
  void complete(int skipped, Routing.@Nullable Places places, Durability durability) {
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

  /**
   * Completes the receipts: all messages are durable, and the answer with their places was lost.
   */
  void completeAsDuplicates() {
    for (CompletableFuture<Receipt> receipt : receipts) receipt.complete(Receipt.DUPLICATE);
  }

  void fail(SluiceException error) {
    for (CompletableFuture<Receipt> receipt : receipts) receipt.completeExceptionally(error);
  }
}
