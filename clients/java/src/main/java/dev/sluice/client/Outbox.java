package dev.sluice.client;

import dev.sluice.v1.PublishStreamResponse;
import io.grpc.Status.Code;
import java.util.ArrayDeque;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/** The messages of a producer, from `send` to their receipt: gathers batches, writes them, and recovers what breaks. */
final class Outbox implements PublishStream.Owner, Client.Endable {
  private final Client client;
  private final ProducerBuilder settings;
  private final long epoch;
  private final Backoff backoff;
  private final Places places;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition room = lock.newCondition();
  private OutboxState state = new OutboxState.Recovering();
  private boolean isClosing;
  /** Takes messages; null while none wait. */
  private Batch open;
  private boolean isLingering;
  /** Closed, not on the current stream. */
  private final ArrayDeque<Batch> waiting = new ArrayDeque<>();
  /** On the current stream, without an answer. */
  private final ArrayDeque<Batch> inFlight = new ArrayDeque<>();
  private final Untold untold = new Untold();
  /** So many are still sent one at a time: one of them was refused, and it is not known which. */
  private int aloneCount;
  private long bufferedBytes;
  private long lastSequence;
  private boolean isExpiryAwaited;
  /** What the last batch came to: the next one begins with as much room. */
  private int usualBytes = 512;
  private int usualCount = 16;

  Outbox(Client client, ProducerBuilder settings, ProducerPosition position, int partitionCount) {
    this.client = client;
    this.settings = settings;
    this.epoch = position.epoch() + 1;
    this.lastSequence = position.lastSequence();
    this.places = new Places(client, settings.topic, partitionCount);
    this.backoff = new Backoff(settings.retryMinBackoffMs, settings.retryMaxBackoffMs);
  }

  void start() {
    client.opened(this);
    connect();
  }

  long lastSequence() {
    lock.lock();
    try {
      return lastSequence + (open == null ? 0 : open.count());
    } finally {
      lock.unlock();
    }
  }

  // --- Handing over -----------------------------------------------------------------------------------------

  /** Why the message is not taken; null when it is. */
  SluiceException add(Message message, CompletableFuture<Receipt> receipt) {
    int size = MessageWriter.sizeOf(message);
    int more = MessageWriter.sizeInBatch(size);
    lock.lock();
    try {
      SluiceException refused = awaitRoom();
      if (refused != null) return refused;
      if (open != null && open.byteLength() + more > settings.batchMaxBytes) closeBatch();
      if (open == null) open = new Batch(Math.max(usualBytes, more), usualCount);
      open.add(message, size, receipt);
      bufferedBytes += more + Batch.OVERHEAD_BYTES;
      boolean isFull = open.byteLength() >= settings.batchMaxBytes || open.count() >= settings.batchMaxMessages;
      if (isFull || settings.lingerMs == 0) closeBatch();
      else if (!isLingering) linger(open);
      // Who was woken takes the next in line along, where there is room for it, too.
      if (hasRoom()) room.signal();
      return null;
    } finally {
      lock.unlock();
    }
  }

  private SluiceException awaitRoom() {
    for (;;) {
      if (state instanceof OutboxState.Over over) return over.error();
      if (isClosing) return SluiceException.closed("the producer");
      if (hasRoom()) return null;
      if (settings.whenFull == ProducerBuilder.WhenFull.FAIL) return SluiceException.bufferFull(bufferedBytes);
      // A batch that nobody fills any more must not wait for its linger.
      closeBatch();
      try {
        room.await();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        room.signal();
        return new SluiceException(Code.CANCELLED, Code.CANCELLED.name(), "interrupted while the buffer was full");
      }
    }
  }

  private boolean hasRoom() {
    return bufferedBytes < settings.bufferMaxBytes;
  }

  /** One timer at a time: when it fires, it closes the batch that it was set for, or waits for the one that is open by then. */
  private void linger(Batch batch) {
    isLingering = true;
    client.after(settings.lingerMs, () -> {
      lock.lock();
      try {
        isLingering = false;
        if (open == batch) closeBatch();
        else if (open != null) linger(open);
      } finally {
        lock.unlock();
      }
    });
  }

  private void closeBatch() {
    Batch batch = open;
    if (batch == null) return;
    open = null;
    usualBytes = batch.byteLength();
    usualCount = batch.count();
    batch.firstSequence = lastSequence + 1;
    lastSequence = batch.lastSequence();
    if (settings.retryTimeoutMs > 0) {
      batch.expiresAtNanos = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(settings.retryTimeoutMs);
      if (!isExpiryAwaited) awaitExpiry(settings.retryTimeoutMs);
    }
    waiting.add(batch);
    untold.add(batch);
    write();
  }

  CompletableFuture<Void> flush() {
    lock.lock();
    try {
      closeBatch();
      return untold.flushed();
    } finally {
      lock.unlock();
    }
  }

  /** Takes nothing more, and ends when everything is answered. */
  CompletableFuture<Void> finish() {
    lock.lock();
    try {
      isClosing = true;
      room.signalAll();
    } finally {
      lock.unlock();
    }
    return flush().thenRun(() -> end(SluiceException.closed("the producer")));
  }

  // --- Writing ----------------------------------------------------------------------------------------------

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
    int most = aloneCount > 0 ? 1 : settings.maxInFlight;
    while (!waiting.isEmpty() && inFlight.size() < most && stream.isReady()) {
      Batch batch = waiting.poll();
      inFlight.add(batch);
      stream.write(PublishRequest.of(batch, settings, epoch));
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

  // --- Answers ----------------------------------------------------------------------------------------------

  @Override
  public void answered(PublishStream stream, PublishStreamResponse response) {
    lock.lock();
    try {
      if (!isCurrent(stream)) return;
      Batch batch = inFlight.peek();
      if (batch == null || response.getBatchId() != batch.firstSequence) {
        breakOff(stream, new SluiceException(Code.INTERNAL, "INTERNAL", "an answer to no batch that is under way"), null);
      } else if (response.hasError()) {
        SluiceException error = SluiceException.from(response.getError());
        breakOff(stream, error, Failure.isRetriable(error) ? null : batch);
      } else {
        inFlight.poll();
        backoff.succeeded();
        done(batch, () -> places.complete(batch, response));
        write();
      }
    } finally {
      lock.unlock();
    }
  }

  /** The batch has its answer: room for others, and `tell` tells those who wait. */
  private void done(Batch batch, Runnable tell) {
    bufferedBytes -= batch.bufferedBytes();
    if (aloneCount > 0) aloneCount--;
    if (hasRoom()) room.signal();
    client.execute(() -> {
      try {
        tell.run();
      } finally {
        told(batch);
      }
    });
  }

  private void told(Batch batch) {
    List<CompletableFuture<Void>> flushed;
    lock.lock();
    try {
      flushed = untold.told(batch);
    } finally {
      lock.unlock();
    }
    for (CompletableFuture<Void> waiter : flushed) waiter.complete(null);
  }

  @Override
  public void closed(PublishStream stream, SluiceException error) {
    lock.lock();
    try {
      if (!isCurrent(stream)) return;
      boolean isRefused = Failure.refusesStream(error, inFlight.size());
      // The stream as a whole was refused for one of those under way.
      boolean isKnown = inFlight.size() <= 1;
      if (isRefused && !isKnown) aloneCount = inFlight.size();
      breakOff(stream, error, isRefused && isKnown ? oldest() : null);
    } finally {
      lock.unlock();
    }
  }

  private boolean isCurrent(PublishStream stream) {
    return state instanceof OutboxState.Streaming streaming && streaming.stream() == stream;
  }

  // --- Recovering -------------------------------------------------------------------------------------------

  /** Gives the stream up and recovers; `refused` is the batch that the error refuses for good, if it does. */
  private void breakOff(PublishStream stream, SluiceException error, Batch refused) {
    state = new OutboxState.Recovering();
    stream.cancel();
    while (!inFlight.isEmpty()) waiting.addFirst(inFlight.pollLast());
    if (Failure.endsProducer(error)) {
      end(error);
      return;
    }
    // What was refused for good is no reason to wait.
    long waitMs = refused != null ? 0 : backoff.nextMs(error.retryDelay().orElse(null));
    recoverAfter(waitMs, error, refused);
  }

  private void recoverAfter(long waitMs, SluiceException error, Batch refused) {
    client.after(waitMs, () -> client.execute(() -> recover(error, refused)));
  }

  /**
   * Asks the broker what it has, which answers only what is durable; fails the batch that was refused for good, if it is the oldest
   * then; numbers the others so that nothing is missing; and goes on over a new stream.
   */
  private void recover(SluiceException error, Batch refused) {
    ProducerPosition position;
    client.retryConnection();
    try {
      position = ProducerPosition.of(client, settings.topic, settings.producerId);
    } catch (SluiceException failed) {
      lock.lock();
      try {
        if (!(state instanceof OutboxState.Recovering)) return;
        if (Failure.isPassing(failed)) recoverAfter(backoff.nextMs(failed.retryDelay().orElse(null)), error, refused);
        else end(failed);
      } finally {
        lock.unlock();
      }
      return;
    }
    lock.lock();
    try {
      if (!(state instanceof OutboxState.Recovering)) return;
      if (position.epoch() > epoch) {
        // Its sequence is another process's by now: it says nothing of what waits here.
        end(SluiceException.fenced(settings.producerId, position.epoch()));
        return;
      }
      while (!waiting.isEmpty() && waiting.peek().lastSequence() <= position.lastSequence()) {
        Batch stored = waiting.poll();
        done(stored, stored::completeAsDuplicates);
      }
      if (refused != null && waiting.peek() == refused) {
        waiting.poll();
        done(refused, () -> refused.fail(error));
      }
      renumber(position.lastSequence());
    } finally {
      lock.unlock();
    }
    connect();
  }

  /** The first one goes on where the broker stands, unless part of it is stored already. */
  private void renumber(long storedSequence) {
    Batch first = waiting.peek();
    long next = first != null && first.firstSequence <= storedSequence ? first.firstSequence : storedSequence + 1;
    for (Batch batch : waiting) {
      batch.firstSequence = next;
      next = batch.lastSequence() + 1;
    }
    lastSequence = next - 1;
  }

  private void awaitExpiry(long waitMs) {
    isExpiryAwaited = true;
    client.after(waitMs, () -> {
      lock.lock();
      try {
        isExpiryAwaited = false;
        expire();
      } finally {
        lock.unlock();
      }
    });
  }

  /** Batches become too old in their order. What may be stored all the same is settled by the recovery: see `renumber`. */
  private void expire() {
    if (state instanceof OutboxState.Over) return;
    long now = System.nanoTime();
    SluiceException error = SluiceException.retryTimeout(settings.retryTimeoutMs);
    boolean hasLeft = false;
    for (Batch batch = oldest(); batch != null && batch.expiresAtNanos - now <= 0; batch = oldest()) {
      if (!inFlight.isEmpty()) hasLeft = true;
      Batch expired = inFlight.isEmpty() ? waiting.poll() : inFlight.poll();
      done(expired, () -> expired.fail(error));
    }
    if (state instanceof OutboxState.Streaming streaming && hasLeft) {
      breakOff(streaming.stream(), error, null);
    }
    Batch next = oldest();
    if (next != null) awaitExpiry(Math.max(1, TimeUnit.NANOSECONDS.toMillis(next.expiresAtNanos - now) + 1));
  }

  private Batch oldest() {
    return inFlight.isEmpty() ? waiting.peek() : inFlight.peek();
  }

  @Override
  public void end(SluiceException error) {
    lock.lock();
    try {
      if (state instanceof OutboxState.Over) return;
      closeBatch();
      if (state instanceof OutboxState.Streaming streaming) {
        if (inFlight.isEmpty()) streaming.stream().halfClose();
        else streaming.stream().cancel();
      }
      state = new OutboxState.Over(error);
      room.signalAll();
      while (oldest() != null) {
        Batch batch = inFlight.isEmpty() ? waiting.poll() : inFlight.poll();
        done(batch, () -> batch.fail(error));
      }
    } finally {
      lock.unlock();
    }
    client.ended(this);
  }
}
