package dev.sluice.client;

import dev.sluice.v1.PublishStreamResponse;
import io.grpc.Status.Code;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The messages of a producer, from `send` to their receipt: gathers batches, writes them, and
 * recovers what breaks.
 */
final class Outbox implements PublishStream.Owner, Client.Endable {
  /**
   * All messages of a batch expire together: where they do, a batch that waits takes messages for
   * so long.
   */
  private static final long MAX_SHARE_MS = 500;

  /** How often what expires is looked for at most. */
  private static final long EXPIRY_STEP_MS = 10;

  private final Client client;
  private final ProducerBuilder settings;
  private final Backoff backoff;
  private final Places places;
  private final ReentrantLock lock = new ReentrantLock();
  private final Room room;
  private final LockedTimer timer;
  private OutboxState state = new OutboxState.Recovering();

  /** Waits for its time; null while there is none, or it is at work. */
  private Recovery pendingRecovery;

  private boolean isClosing;
  private final Batches batches;
  private boolean isLingering;
  private final Answers answers;

  /** When what expires is looked for next, by System.nanoTime; valid while isExpiryAwaited. */
  private long expiryAtNanos;

  private boolean isExpiryAwaited;

  /** Why the last stream ended; null once a batch was stored since. */
  private SluiceException lastFailure;

  /** What the last batch came to: the next one begins with as much room. */
  private int usualBytes = 512;

  private int usualCount = 16;

  /** Why there is no stream; and the batch that was refused for good, with why, or null. */
  private record Recovery(SluiceException error, Batch refused, SluiceException refusal) {
    Recovery(SluiceException error, Batch refused) {
      this(error, refused, error);
    }
  }

  Outbox(Client client, ProducerBuilder settings, ProducerPosition position, int partitionCount) {
    this.client = client;
    this.settings = settings;
    this.batches = new Batches(position);
    this.answers = new Answers(client, lock);
    this.room = new Room(lock, settings);
    this.timer = new LockedTimer(client, lock);
    this.places = new Places(client, settings.topic, partitionCount);
    this.backoff = new Backoff(settings.retryMinBackoffMs, settings.maxBackoffMs());
  }

  void start() {
    client.opened(this);
    connect();
  }

  long lastSequence() {
    lock.lock();
    try {
      return batches.lastSequence();
    } finally {
      lock.unlock();
    }
  }

  // --- Handing over ---

  /** Why the message is not taken; null when it is. */
  SluiceException add(Message message, CompletableFuture<Receipt> receipt) {
    int size = MessageWriter.sizeOf(message);
    int more = MessageWriter.sizeInBatch(size);
    lock.lock();
    try {
      long expiresAtNanos = 0;
      if (room.isFull()) {
        expiresAtNanos = System.nanoTime() + timeoutNanos();
        SluiceException refused = awaitRoom(expiresAtNanos);
        if (refused != null) return refused;
      }
      SluiceException over = whyNotTaken();
      if (over != null) return over;
      Batch batch = batchFor(more, expiresAtNanos);
      batch.add(message, size, receipt);
      if (batch.byteLength() >= settings.batchMaxBytes
          || batch.count() >= settings.batchMaxMessages) closeBatch();
      write();
      room.take(more + Batch.OVERHEAD_BYTES);
      return null;
    } finally {
      lock.unlock();
    }
  }

  private SluiceException whyNotTaken() {
    if (state instanceof OutboxState.Over over) return over.error();
    return isClosing ? SluiceException.closed("the producer") : null;
  }

  private SluiceException awaitRoom(long expiresAtNanos) {
    while (room.isFull()) {
      SluiceException over = whyNotTaken();
      if (over != null) return over;
      if (settings.whenFull == ProducerBuilder.WhenFull.FAIL) return room.full();
      // A batch that gets no more messages must not wait for its linger.
      due();
      write();
      SluiceException refused = room.await(expiresAtNanos);
      if (refused != null) return refused;
    }
    return null;
  }

  private long timeoutNanos() {
    return TimeUnit.MILLISECONDS.toNanos(settings.retryTimeoutMs);
  }

  private long shareMs() {
    return Math.max(1, Math.min(MAX_SHARE_MS, settings.retryTimeoutMs / 2));
  }

  /**
   * The open batch, or a new one where it has no room. `expiresAtNanos` is 0 for a message that did
   * not wait for room.
   */
  private Batch batchFor(int more, long expiresAtNanos) {
    Batch open = batches.open();
    if (open != null
        && (open.byteLength() + more > settings.batchMaxBytes
            || expiresMuchEarlier(expiresAtNanos, open))) {
      closeBatch();
      open = null;
    }
    if (open != null) return open;
    Batch made = new Batch(Math.max(usualBytes, more), usualCount);
    batches.open(made);
    answers.expect(made);
    if (settings.retryTimeoutMs > 0) {
      made.expiresAtNanos =
          expiresAtNanos != 0 ? expiresAtNanos : System.nanoTime() + timeoutNanos();
      awaitExpiry(made.expiresAtNanos);
    }
    if (settings.lingerMs == 0) due();
    else if (!isLingering) linger(made);
    return made;
  }

  private boolean expiresMuchEarlier(long expiresAtNanos, Batch open) {
    if (settings.retryTimeoutMs == 0 || expiresAtNanos == 0) return false;
    return open.expiresAtNanos - expiresAtNanos > TimeUnit.MILLISECONDS.toNanos(shareMs());
  }

  /**
   * One timer at a time: when it fires, the batch that it was set for is due, or the one that is
   * open by then is waited for.
   */
  private void linger(Batch batch) {
    isLingering = true;
    timer.after(
        settings.lingerMs(),
        () -> {
          isLingering = false;
          if (batches.open() == batch) {
            due();
            write();
          } else if (batches.open() != null && !batches.isDue()) {
            linger(batches.open());
          }
        });
  }

  /**
   * The open batch is sent as soon as one more may be under way. Until then it takes what comes:
   * messages that wait share a request, whatever the linger.
   */
  private void due() {
    Batch batch = batches.open();
    if (batch == null || batches.isDue()) return;
    batches.due();
    if (settings.retryTimeoutMs == 0) return;
    timer.after(
        shareMs(),
        () -> {
          if (batches.open() == batch) closeBatch();
        });
  }

  /** The open batch takes nothing more. */
  private void closeBatch() {
    Batch batch = batches.open();
    if (batch == null) return;
    usualBytes = batch.byteLength();
    usualCount = batch.count();
    batches.close();
  }

  CompletableFuture<Void> flush() {
    lock.lock();
    try {
      due();
      write();
      return answers.flushed();
    } finally {
      lock.unlock();
    }
  }

  /** Takes nothing more, and ends when everything is answered. */
  CompletableFuture<Void> finish() {
    lock.lock();
    try {
      isClosing = true;
      room.wakeAll();
    } finally {
      lock.unlock();
    }
    return flush().thenRun(() -> end(SluiceException.closed("the producer")));
  }

  // --- Writing ---

  private void connect() {
    PublishStream stream = new PublishStream(client, this);
    lock.lock();
    try {
      if (state instanceof OutboxState.Over) return;
      state = new OutboxState.Streaming(stream);
      stream.start();
      write();
    } finally {
      lock.unlock();
    }
  }

  /** Writes what may be under way, in order, as the transport takes it. */
  private void write() {
    if (!(state instanceof OutboxState.Streaming streaming)) return;
    PublishStream stream = streaming.stream();
    while (batches.maySend(settings.maxInFlight) && stream.isReady()) {
      Batch batch = batches.send();
      stream.write(PublishRequest.of(batch, settings, batches.epoch()));
    }
  }

  @Override
  public void mayWrite(PublishStream stream) {
    lock.lock();
    try {
      if (isCurrent(stream)) write();
    } finally {
      lock.unlock();
    }
  }

  // --- Answers ---

  @Override
  public void answered(PublishStream stream, PublishStreamResponse response) {
    lock.lock();
    try {
      if (!isCurrent(stream)) return;
      Batch batch = batches.oldestInFlight();
      if (batch == null || response.getBatchId() != batch.firstSequence) {
        breakOff(
            stream,
            new SluiceException(
                Code.INTERNAL, "INTERNAL", "an answer to no batch that is under way"),
            null);
      } else if (response.hasError()) {
        SluiceException error = SluiceException.from(response.getError());
        // This copy has its answer: it can't arrive any more.
        batch.copies--;
        breakOff(stream, error, Failure.isRetriable(error) ? null : batch);
      } else {
        batches.stored();
        backoff.succeeded();
        lastFailure = null;
        done(batch, () -> places.complete(batch, response));
        write();
      }
    } finally {
      lock.unlock();
    }
  }

  /** The batch has its answer: room for others, and `tell` tells those who wait. */
  private void done(Batch batch, Runnable tell) {
    room.free(batch.bufferedBytes());
    answers.give(batch, tell);
  }

  @Override
  public void closed(PublishStream stream, SluiceException error) {
    lock.lock();
    try {
      if (isCurrent(stream)) breakOff(stream, error, batches.refusedBy(error));
    } finally {
      lock.unlock();
    }
  }

  private boolean isCurrent(PublishStream stream) {
    return state instanceof OutboxState.Streaming streaming && streaming.stream() == stream;
  }

  // --- Recovering ---

  /**
   * Gives the stream up and recovers; `refused` is the batch that the error refuses for good, if it
   * does.
   */
  private void breakOff(PublishStream stream, SluiceException error, Batch refused) {
    state = new OutboxState.Recovering();
    stream.cancel();
    batches.takeBack();
    if (Failure.endsProducer(error)) {
      end(error);
      return;
    }
    lastFailure = error;
    // What was refused for good is no reason to wait.
    recoverAfter(
        refused != null ? 0 : backoff.nextMs(error.retryDelay().orElse(null)),
        new Recovery(error, refused));
  }

  private void recoverAfter(long waitMs, Recovery recovery) {
    pendingRecovery = recovery;
    if (waitMs > 0) client.retrying("a producer", settings.topic, recovery.error, waitMs);
    timer.after(waitMs, () -> startRecovery(recovery));
  }

  private void startRecovery(Recovery recovery) {
    if (recovery == null || pendingRecovery != recovery) return;
    pendingRecovery = null;
    client.execute(() -> recover(recovery));
  }

  /**
   * Asks the broker what it has, which answers only what is durable, or renews the epoch where it
   * has to be; fails the batch that was refused for good, if it is the oldest then; and goes on
   * over a new stream.
   */
  private void recover(Recovery recovery) {
    long renewalId;
    long epoch;
    lock.lock();
    try {
      renewalId = batches.renewalId();
      epoch = batches.epoch();
    } finally {
      lock.unlock();
    }
    ProducerPosition position;
    client.retryConnection();
    try {
      position =
          renewalId != 0
              ? ProducerPosition.renew(client, settings, renewalId, epoch)
              : ProducerPosition.of(client, settings, epoch);
    } catch (SluiceException failed) {
      recoverAgain(failed, recovery);
      return;
    }
    lock.lock();
    try {
      if (!(state instanceof OutboxState.Recovering)) return;
      for (Batch stored : batches.takeStored(position)) done(stored, stored::completeAsDuplicates);
      if (recovery.refused != null && batches.oldest() == recovery.refused) {
        batches.drop();
        done(recovery.refused, () -> recovery.refused.fail(recovery.refusal));
      }
      if (!batches.resume(position)) {
        recoverAfter(0, new Recovery(recovery.error, null));
        return;
      }
      // Under the same lock: no batch that was sent before may expire in between, and leave its
      // number to another one.
      connect();
    } finally {
      lock.unlock();
    }
  }

  private void recoverAgain(SluiceException failed, Recovery recovery) {
    lock.lock();
    try {
      if (!(state instanceof OutboxState.Recovering)) return;
      lastFailure = failed;
      if (Failure.isPassing(failed)) {
        Recovery again = new Recovery(failed, recovery.refused, recovery.refusal);
        recoverAfter(backoff.nextMs(failed.retryDelay().orElse(null)), again);
      } else {
        end(failed);
      }
    } finally {
      lock.unlock();
    }
  }

  // --- Giving up ---

  private void awaitExpiry(long atNanos) {
    if (isExpiryAwaited && expiryAtNanos - atNanos <= 0) return;
    isExpiryAwaited = true;
    expiryAtNanos = atNanos;
    timer.after(
        Math.max(EXPIRY_STEP_MS, TimeUnit.NANOSECONDS.toMillis(atNanos - System.nanoTime()) + 1),
        this::expire);
  }

  /**
   * Fails what was handed over too long ago, whatever the broker does meanwhile. A copy of it may
   * lie in a dead connection: then nothing is sent before the epoch is a new one, which fences that
   * copy.
   */
  private void expire() {
    if (state instanceof OutboxState.Over) return;
    long now = System.nanoTime();
    isExpiryAwaited = false;
    String why = lastFailure == null ? "the broker did not answer" : lastFailure.getMessage();
    SluiceException error = SluiceException.retryTimeout(settings.retryTimeoutMs, why);
    for (Batch batch : batches.expire(now)) done(batch, () -> batch.fail(error));
    if (batches.renewalId() != 0 && state instanceof OutboxState.Streaming streaming) {
      state = new OutboxState.Recovering();
      streaming.stream().cancel();
      batches.takeBack();
      recoverAfter(0, new Recovery(error, null));
    } else if (batches.isEmpty()) {
      // Nothing waits any more for which a pause was made.
      startRecovery(pendingRecovery);
    }
    if (!batches.isEmpty()) awaitExpiry(batches.nextExpiryNanos(now));
  }

  @Override
  public void end(SluiceException error) {
    lock.lock();
    try {
      if (state instanceof OutboxState.Over) return;
      closeBatch();
      if (state instanceof OutboxState.Streaming streaming) {
        if (batches.isInFlightEmpty()) streaming.stream().halfClose();
        else streaming.stream().cancel();
      }
      state = new OutboxState.Over(error);
      room.wakeAll();
      while (batches.oldest() != null) {
        Batch batch = batches.drop();
        done(batch, () -> batch.fail(error));
      }
    } finally {
      lock.unlock();
    }
    client.ended(this);
  }
}
