package dev.sluice.client;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;

/**
 * The batches of a producer, from their first message until they are answered, and the numbers of
 * their messages. Guarded by its owner's lock.
 *
 * <p>Numbers are given when a batch is sent, and given anew only in a new epoch: a copy that was
 * sent with the old number may still lie in a connection that died, and would be taken for another
 * batch. `OpenProducer` with the current epoch makes the new one; it fences every copy, and says
 * what is stored.
 */
final class Batches {
  /**
   * A batch that was alone under way and refused so often in a row, without a reason of the broker,
   * is refused for good.
   */
  private static final int MAX_BARE_REFUSALS = 5;

  /** Takes messages, until it is full or is sent; null while there are none. */
  private Batch open;

  /** The open batch is sent as soon as one more may be under way. */
  private boolean isDue;

  /** Closed, not on the current stream. */
  private final ArrayDeque<Batch> waiting = new ArrayDeque<>();

  /** On the current stream, without an answer. */
  private final ArrayDeque<Batch> inFlight = new ArrayDeque<>();

  /**
   * So many of the oldest are sent one at a time: a stream was refused because of one of them, it
   * is not known which.
   */
  private int aloneCount;

  /** Of the last message that is known to be stored, and of the last one that was sent. */
  private long storedSequence;

  private long sentSequence;
  private long epoch;

  /**
   * The claim_id of the OpenProducer that has to be answered before anything is sent; 0 where none
   * has.
   */
  private long renewalId;

  Batches(ProducerPosition position) {
    epoch = position.epoch();
    storedSequence = position.lastSequence();
    sentSequence = position.lastSequence();
  }

  Batch open() {
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

  /** The batch that the next answer is for; null while none is under way. */
  Batch oldestInFlight() {
    return inFlight.peek();
  }

  /** Of those that are closed; null while there are none. */
  Batch oldest() {
    return inFlight.isEmpty() ? waiting.peek() : inFlight.peek();
  }

  boolean isEmpty() {
    return open == null && oldest() == null;
  }

  /** Messages that are stored, under way, or handed over. */
  long lastSequence() {
    long last = storedSequence + (open == null ? 0 : open.count());
    for (Batch batch : inFlight) last += batch.count();
    for (Batch batch : waiting) last += batch.count();
    return last;
  }

  boolean maySend(int maxInFlight) {
    return inFlight.size() < (aloneCount > 0 ? 1 : maxInFlight) && (isDue || !waiting.isEmpty());
  }

  /** Takes the next batch to be sent, with its number, where one may be. */
  Batch send() {
    if (waiting.isEmpty()) close();
    Batch batch = waiting.poll();
    batch.firstSequence = sentSequence + 1;
    sentSequence = batch.lastSequence();
    batch.copies++;
    inFlight.add(batch);
    return batch;
  }

  /** The oldest one is stored. */
  void stored() {
    storedSequence = inFlight.poll().lastSequence();
    answered();
  }

  private void answered() {
    if (aloneCount > 0) aloneCount--;
  }

  /**
   * The batch for which the stream as a whole was refused for good; null where there is none, or it
   * is not known yet.
   */
  Batch refusedBy(SluiceException error) {
    int sentCount = inFlight.size();
    Batch oldest = oldest();
    if (oldest == null) return null;
    boolean isBare = Failure.isBareExhausted(error);
    if (!isBare) {
      oldest.bareRefusals = 0;
      if (Failure.isPassing(error)) return null;
    }
    // Any of those under way may be meant. One that goes alone is it.
    aloneCount = Math.max(aloneCount, sentCount);
    if (sentCount > 1) return null;
    if (isBare) {
      oldest.bareRefusals += sentCount;
      if (oldest.bareRefusals < MAX_BARE_REFUSALS) return null;
    }
    return oldest;
  }

  /** The stream is over: what was under way waits again. */
  void takeBack() {
    while (!inFlight.isEmpty()) waiting.addFirst(inFlight.pollLast());
  }

  /** Takes out the oldest one, which will not be sent any more. */
  Batch drop() {
    Batch batch = inFlight.isEmpty() ? waiting.poll() : inFlight.poll();
    if (batch.copies > 0) needRenewal();
    answered();
    return batch;
  }

  /** Takes out what has been tried for long enough. */
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

  /** When the next one has been tried for long enough; `none` where nothing waits. */
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

  /** Before anything else is sent, what was sent has to be fenced. */
  private void needRenewal() {
    if (renewalId == 0) renewalId = ProducerPosition.newClaimId();
  }

  /** Takes out those that turn out to be stored. */
  List<Batch> takeStored(ProducerPosition position) {
    List<Batch> stored = new ArrayList<>();
    while (!waiting.isEmpty()
        && waiting.peek().copies > 0
        && waiting.peek().lastSequence() <= position.lastSequence()) {
      stored.add(waiting.poll());
      answered();
    }
    return stored;
  }

  /** Goes on behind what is stored. False where the epoch has to be renewed before. */
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

  /** One that may still arrive with its old number would get another one. */
  private boolean isNumberedAnew() {
    long next = storedSequence + 1;
    for (Batch batch : waiting) {
      if (batch.copies > 0 && batch.firstSequence != next) return true;
      next += batch.count();
    }
    return false;
  }
}
