package dev.sluice.client;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The batches of a producer, from their first message until they are answered, and the sequences of
 * their messages. Guarded by the lock of the outbox.
 *
 * <p>A batch gets its sequences when it is sent, and gets other sequences only in a new epoch: a
 * copy that was sent with the old sequences may still be in a dead connection, and the broker would
 * take it for another batch. `OpenProducer` with the current epoch makes the new epoch. It fences
 * every copy, and says which messages are stored.
 */
final class Batches {
  /**
   * A batch that was alone under way, and was refused this many times in a row without a reason of
   * the broker, is refused finally.
   */
  private static final int MAX_BARE_REFUSALS = 5;

  /** Takes messages until it is full or is sent. Null if there is no such batch. */
  private @Nullable Batch open;

  /** The open batch is sent as soon as one more batch may be under way. */
  private boolean isDue;

  /** Closed batches that were not sent on the current stream. */
  private final ArrayDeque<Batch> waiting = new ArrayDeque<>();

  /** Batches that were sent on the current stream and not answered. */
  private final ArrayDeque<Batch> inFlight = new ArrayDeque<>();

  /**
   * This many of the oldest batches are sent one at a time: a stream was refused because of one of
   * them, and the error does not name it.
   */
  private int aloneCount;

  /** The sequence of the last message that is known to be stored. */
  private long storedSequence;

  /** The sequence of the last message that was sent. */
  private long sentSequence;

  private long epoch;

  /**
   * The claim_id of an OpenProducer call that the broker has to answer before a batch is sent. 0 if
   * there is none.
   */
  private long renewalId;

  Batches(ProducerPosition position) {
    epoch = position.epoch();
    storedSequence = position.lastSequence();
    sentSequence = position.lastSequence();
  }

  @Nullable Batch open() {
    return open;
  }

  void open(Batch batch) {
    open = batch;
  }

  boolean isDue() {
    return isDue;
  }

  void due() {
    isDue = open != null;
  }

  void close() {
    if (open == null) return;
    waiting.add(open);
    open = null;
    isDue = false;
  }

  long epoch() {
    return epoch;
  }

  long renewalId() {
    return renewalId;
  }

  boolean isInFlightEmpty() {
    return inFlight.isEmpty();
  }

  /** The batch of the next answer. Null if no batch is under way. */
  @Nullable Batch oldestInFlight() {
    return inFlight.peek();
  }

  /** The oldest closed batch. Null if there is none. */
  @Nullable Batch oldest() {
    return inFlight.isEmpty() ? waiting.peek() : inFlight.peek();
  }

  boolean isEmpty() {
    return open == null && oldest() == null;
  }

  /** The sequence of the last message, also counting messages that are not sent. */
  long lastSequence() {
    long last = storedSequence + (open == null ? 0 : open.count());
    for (Batch batch : inFlight) last += batch.count();
    for (Batch batch : waiting) last += batch.count();
    return last;
  }

  boolean maySend(int maxInFlight) {
    return inFlight.size() < (aloneCount > 0 ? 1 : maxInFlight) && (isDue || !waiting.isEmpty());
  }

  /** Takes the next batch to send, and gives it its sequences. Call only if `maySend`. */
  Batch send() {
    if (waiting.isEmpty()) close();
    Batch batch = waiting.remove();
    batch.firstSequence = sentSequence + 1;
    sentSequence = batch.lastSequence();
    batch.copies++;
    inFlight.add(batch);
    return batch;
  }

  /** The broker has stored the oldest batch. */
  void stored() {
    storedSequence = inFlight.remove().lastSequence();
    answered();
  }

  private void answered() {
    if (aloneCount > 0) aloneCount--;
  }

  /**
   * The batch that the error of a whole stream refuses finally. Null if there is none, or if it is
   * not known yet.
   */
  @Nullable Batch refusedBy(SluiceException error) {
    int sentCount = inFlight.size();
    Batch oldest = oldest();
    if (oldest == null) return null;
    boolean isBare = Failure.isBareExhausted(error);
    if (!isBare) {
      oldest.bareRefusals = 0;
      if (Failure.isPassing(error)) return null;
    }
    // The error can be for any batch under way. If one batch was under way, the error is for this
    // batch.
    aloneCount = Math.max(aloneCount, sentCount);
    if (sentCount > 1) return null;
    if (isBare) {
      oldest.bareRefusals += sentCount;
      if (oldest.bareRefusals < MAX_BARE_REFUSALS) return null;
    }
    return oldest;
  }

  /** The stream is over: batches that were under way wait again. */
  void takeBack() {
    while (!inFlight.isEmpty()) waiting.addFirst(inFlight.removeLast());
  }

  /** Removes the oldest batch, which is not sent again. */
  Batch drop() {
    Batch batch = inFlight.isEmpty() ? waiting.remove() : inFlight.remove();
    if (batch.copies > 0) needRenewal();
    answered();
    return batch;
  }

  /** Removes the batches that have expired. */
  List<Batch> expire(long nowNanos) {
    List<Batch> expired = new ArrayList<>();
    for (ArrayDeque<Batch> queue : List.of(inFlight, waiting)) {
      queue.removeIf(
          batch -> {
            if (batch.expiresAtNanos - nowNanos > 0) return false;
            if (batch.copies > 0) needRenewal();
            answered();
            return expired.add(batch);
          });
    }
    if (open != null && open.expiresAtNanos - nowNanos <= 0) {
      expired.add(open);
      open = null;
      isDue = false;
    }
    return expired;
  }

  /** The time at which the next batch expires. `none` if there is no batch. */
  long nextExpiryNanos(long none) {
    long next = none;
    boolean isFirst = true;
    for (Batch batch : all()) {
      if (isFirst || batch.expiresAtNanos - next < 0) next = batch.expiresAtNanos;
      isFirst = false;
    }
    return next;
  }

  private List<Batch> all() {
    List<Batch> all = new ArrayList<>(inFlight);
    all.addAll(waiting);
    if (open != null) all.add(open);
    return all;
  }

  /** Copies that were sent must be fenced before another batch is sent. */
  private void needRenewal() {
    if (renewalId == 0) renewalId = ProducerPosition.newClaimId();
  }

  /** Removes the batches that are stored, by the position of the producer. */
  List<Batch> takeStored(ProducerPosition position) {
    List<Batch> stored = new ArrayList<>();
    for (Batch next : waiting) {
      if (next.copies == 0 || next.lastSequence() > position.lastSequence()) break;
      stored.add(next);
      answered();
    }
    for (int i = 0; i < stored.size(); i++) waiting.remove();
    return stored;
  }

  /** Continues behind the stored messages. False if the epoch has to be renewed first. */
  boolean resume(ProducerPosition position) {
    storedSequence = position.lastSequence();
    sentSequence = position.lastSequence();
    if (position.epoch() != epoch) {
      epoch = position.epoch();
      renewalId = 0;
      for (Batch batch : waiting) batch.copies = 0;
    } else if (isNumberedAnew()) {
      needRenewal();
    }
    return renewalId == 0;
  }

  /** Whether a batch of which a copy may still reach the broker would get other sequences. */
  private boolean isNumberedAnew() {
    long next = storedSequence + 1;
    for (Batch batch : waiting) {
      if (batch.copies > 0 && batch.firstSequence != next) return true;
      next += batch.count();
    }
    return false;
  }
}
