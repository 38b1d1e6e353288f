package dev.sluice.client;

import dev.sluice.v1.PublishStreamResponse;
import io.grpc.Status.Code;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * The messages of a producer, from `send` until their receipt: gathers them in batches, sends the
 * batches, and continues over a new stream when a stream breaks.
 */
final class Outbox implements PublishStream.Owner, Client.Endable {
  private final Client client;
  private final ProducerBuilder settings;
  private final Backoff backoff;
  private final Places places;
  private final Answers answers;

  /** Guards all that follows. */
  private final ReentrantLock lock = new ReentrantLock();

  private final Room room;
  private final Batches batches;
  private final OpenBatch openBatch;
  private final ExpiryTimer expiry = new ExpiryTimer(this::after, this::expire);
  private OutboxState state = new OutboxState.Recovering();

  /** Waits for its backoff. Null while no recovery waits, or one is at work. */
  private @Nullable Recovery pendingRecovery;

  private boolean isClosing;

  /** The error that ended the last stream. Null after a batch was stored. */
  private @Nullable SluiceException lastFailure;

  Outbox(Client client, ProducerBuilder settings, ProducerPosition position, int partitionCount) {
    this.client = client;
    this.settings = settings;
    this.batches = new Batches(position);
    this.answers = new Answers(client);
    this.room = new Room(lock.newCondition(), settings);
    this.openBatch = new OpenBatch(settings, batches, this::writeAfter);
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

  /** Runs a task later, with the lock. */
  private void after(long waitMs, Runnable task) {
    client.after(
        waitMs,
        () -> {
          lock.lock();
          try {
            task.run();
          } finally {
            lock.unlock();
          }
        });
  }

  private void writeAfter(long waitMs, Runnable task) {
    after(
        waitMs,
        () -> {
          task.run();
          write();
        });
  }

  // --- Adding messages ---

  /** Adds a message. Returns the error of a message that was not added, else null. */
  @Nullable SluiceException add(Message message, CompletableFuture<Receipt> receipt) {
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
      SluiceException over = endError();
      if (over != null) return over;
      Batch batch = batches.open();
      if (batch == null || openBatch.needsNew(more, expiresAtNanos)) {
        batch = openBatch(more, expiresAtNanos);
      }
      batch.add(message, size, receipt);
      openBatch.closeIfFull(batch);
      write();
      room.take(more + Batch.OVERHEAD_BYTES);
      return null;
    } finally {
      lock.unlock();
    }
  }

  private Batch openBatch(int more, long knownExpiryNanos) {
    boolean isLimited = settings.retryTimeoutMs > 0;
    long expiresAtNanos =
        knownExpiryNanos != 0 || !isLimited ? knownExpiryNanos : System.nanoTime() + timeoutNanos();
    Batch batch = openBatch.openNew(more, expiresAtNanos);
    answers.expect(batch);
    if (isLimited) expiry.checkAt(expiresAtNanos);
    return batch;
  }

  /** Why the producer accepts no more messages. Null while it accepts them. */
  private @Nullable SluiceException endError() {
    if (state instanceof OutboxState.Over over) return over.error();
    return isClosing ? SluiceException.closed("the producer") : null;
  }

  private @Nullable SluiceException awaitRoom(long expiresAtNanos) {
    while (room.isFull()) {
      SluiceException over = endError();
      if (over != null) return over;
      if (settings.whenFull == ProducerBuilder.WhenFull.FAIL) return room.full();
      // The open batch gets no more messages while the buffer is full: it must not linger.
      openBatch.due();
      write();
      SluiceException refused = room.await(expiresAtNanos);
      if (refused != null) return refused;
    }
    return null;
  }

  private long timeoutNanos() {
    return TimeUnit.MILLISECONDS.toNanos(settings.retryTimeoutMs);
  }

  CompletableFuture<@Nullable Void> flush() {
    lock.lock();
    try {
      openBatch.due();
      write();
      return answers.flushed();
    } finally {
      lock.unlock();
    }
  }

  /** Accepts no more messages, and ends when all messages have their results. */
  CompletableFuture<@Nullable Void> finish() {
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

  /** Sends batches in their order, as many as may be under way and as the transport accepts. */
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

  // --- Responses ---

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
                Code.INTERNAL, "INTERNAL", "the broker answered a batch that is not under way"),
            null);
      } else if (response.hasError()) {
        SluiceException error = SluiceException.from(response.getError());
        // This copy was answered, so it cannot reach the broker later.
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

  /** Frees the room of a batch, and has `report` report its results. */
  private void done(Batch batch, Runnable report) {
    room.free(batch.bufferedBytes());
    answers.give(batch, report);
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
   * Gives up the stream and recovers. `refused` is the batch that the error refuses finally, or
   * null.
   */
  private void breakOff(PublishStream stream, SluiceException error, @Nullable Batch refused) {
    state = new OutboxState.Recovering();
    stream.cancel();
    batches.takeBack();
    if (Failure.endsProducer(error)) {
      end(error);
      return;
    }
    lastFailure = error;
    // The broker answers: a refused batch is no reason for a backoff.
    recoverAfter(
        refused != null ? 0 : backoff.nextMs(error.retryDelay().orElse(null)),
        new Recovery(error, refused));
  }

  private void recoverAfter(long waitMs, Recovery recovery) {
    pendingRecovery = recovery;
    if (waitMs > 0) client.retrying("a producer", settings.topic, recovery.error, waitMs);
    after(waitMs, () -> startRecovery(recovery));
  }

  private void startRecovery(@Nullable Recovery recovery) {
    if (recovery == null || pendingRecovery != recovery) return;
    pendingRecovery = null;
    client.execute(() -> recover(recovery));
  }

  /**
   * Asks the broker for its durable position, or renews the epoch if that is needed. Then fails the
   * batch that was refused finally, if it is the oldest batch by then, and opens a new stream.
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
      position = recovery.ask(client, settings, renewalId, epoch);
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
      // With the same lock: otherwise a batch that was sent could expire before the stream is open,
      // and another batch would get its number.
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
        recoverAfter(backoff.nextMs(failed.retryDelay().orElse(null)), recovery.again(failed));
      } else {
        end(failed);
      }
    } finally {
      lock.unlock();
    }
  }

  // --- Expiry and end ---

  /**
   * Fails the batches that have expired, whatever the broker does. A copy of such a batch may still
   * be in a dead connection. Then the outbox sends nothing before it has a new epoch, which fences
   * that copy.
   */
  private void expire() {
    if (state instanceof OutboxState.Over) return;
    long now = System.nanoTime();
    String known = lastFailure == null ? null : lastFailure.getMessage();
    String why = known == null ? "the broker did not answer" : known;
    SluiceException error = SluiceException.retryTimeout(settings.retryTimeoutMs, why);
    for (Batch batch : batches.expire(now)) done(batch, () -> batch.fail(error));
    if (batches.renewalId() != 0 && state instanceof OutboxState.Streaming streaming) {
      state = new OutboxState.Recovering();
      streaming.stream().cancel();
      batches.takeBack();
      recoverAfter(0, new Recovery(error, null));
    } else if (batches.isEmpty()) {
      // No batch waits any more, so the backoff has no purpose.
      startRecovery(pendingRecovery);
    }
    if (!batches.isEmpty()) expiry.checkAt(batches.nextExpiryNanos(now));
  }

  @Override
  public void end(SluiceException error) {
    lock.lock();
    try {
      if (state instanceof OutboxState.Over) return;
      openBatch.close();
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
