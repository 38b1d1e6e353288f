package dev.sluice.client;

import dev.sluice.v1.ProducerSequence;
import dev.sluice.v1.PublishStreamRequest;
import dev.sluice.v1.PublishStreamResponse;
import io.grpc.Status.Code;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/** The messages of a producer, from `send` to their receipt: gathers batches, writes them, and recovers what breaks. */
final class Outbox implements PublishStream.Owner, Client.Endable {
  /** How it stands with the broker. */
  private sealed interface State {
    /** Batches go out over the stream. */
    record Streaming(PublishStream stream) implements State {}

    /** Nothing goes out: the stream broke, or a batch was refused and those behind it have to be answered first. */
    record Recovering() implements State {}

    /** For good. */
    record Over(SluiceException error) implements State {}
  }

  private final Client client;
  private final ProducerBuilder settings;
  private final long epoch;
  private final Backoff backoff;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition room = lock.newCondition();
  private State state = new State.Recovering();
  private boolean isClosing;
  /** Takes messages; null while none wait. */
  private Batch open;
  private boolean isLingering;
  /** Closed, not on the current stream. */
  private final ArrayDeque<Batch> waiting = new ArrayDeque<>();
  /** On the current stream, without an answer. */
  private final ArrayDeque<Batch> inFlight = new ArrayDeque<>();
  /** Closed, and those who wait for its messages not told yet. */
  private final ArrayDeque<Batch> untold = new ArrayDeque<>();
  private long bufferedBytes;
  private long lastSequence;
  private int partitionCount;
  private boolean isExpiryAwaited;
  /** What the last batch came to: the next one begins with as much room. */
  private int usualBytes = 512;
  private int usualCount = 16;

  Outbox(Client client, ProducerBuilder settings, ProducerPosition position, int partitionCount) {
    this.client = client;
    this.settings = settings;
    this.epoch = position.epoch() + 1;
    this.lastSequence = position.lastSequence();
    this.partitionCount = partitionCount;
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
      if (state instanceof State.Over over) return over.error();
      if (isClosing) return SluiceException.closed("the producer");
      if (hasRoom()) return null;
      if (settings.whenFull == ProducerBuilder.WhenFull.FAIL) {
        String text = bufferedBytes + " bytes wait for their receipt: the buffer is full";
        return new SluiceException(Code.RESOURCE_EXHAUSTED, SluiceException.BUFFER_FULL, text);
      }
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
      Batch last = untold.peekLast();
      if (last == null) return CompletableFuture.completedFuture(null);
      if (last.flushed == null) last.flushed = new CompletableFuture<>();
      return last.flushed.copy();
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
      if (state instanceof State.Over) return;
      state = new State.Streaming(stream);
      stream.start();
      write();
    } finally {
      lock.unlock();
    }
  }

  /** Writes what may be under way, in order, as the transport takes it. */
  private void write() {
    if (!(state instanceof State.Streaming streaming)) return;
    PublishStream stream = streaming.stream();
    while (!waiting.isEmpty() && inFlight.size() < settings.maxInFlight && stream.isReady()) {
      Batch batch = waiting.poll();
      inFlight.add(batch);
      stream.write(new PublishRequest(headOf(batch), batch.buffer(), batch.byteLength()));
    }
  }

  private PublishStreamRequest headOf(Batch batch) {
    ProducerSequence producer = ProducerSequence.newBuilder()
        .setProducerId(settings.producerId)
        .setEpoch(epoch)
        .setFirstSequence(batch.firstSequence)
        .build();
    PublishStreamRequest.Builder head =
        PublishStreamRequest.newBuilder().setTopic(settings.topic).setProducer(producer).setBatchId(batch.firstSequence);
    if (settings.partition != null) head.setPartition(settings.partition);
    return head.build();
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
        int partitionsKnown = partitionCount;
        done(batch, () -> stored(batch, response, partitionsKnown));
        write();
      }
    } finally {
      lock.unlock();
    }
  }

  /** Runs on the executor. */
  private void stored(Batch batch, PublishStreamResponse response, int partitionsKnown) {
    int skipped = (int) response.getDuplicateCount();
    Routing.Places places = batch.placesOf(skipped, response.getRangesList(), partitionsKnown);
    if (places == null && skipped < batch.count()) {
      // The topic has more partitions than it had.
      try {
        int now = ProducerPosition.partitionCountOf(client, settings.topic);
        lock.lock();
        try {
          partitionCount = now;
        } finally {
          lock.unlock();
        }
        places = batch.placesOf(skipped, response.getRangesList(), now);
      } catch (SluiceException unknown) {
        // The messages are durable all the same; their receipts say that it is not known where.
        places = null;
      }
    }
    batch.complete(skipped, places, response.getDurability());
  }

  /** The batch has its answer: room for others, and `tell` tells those who wait. */
  private void done(Batch batch, Runnable tell) {
    bufferedBytes -= batch.bufferedBytes();
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
    List<CompletableFuture<Void>> flushed = new ArrayList<>();
    lock.lock();
    try {
      batch.isTold = true;
      while (!untold.isEmpty() && untold.peek().isTold) {
        CompletableFuture<Void> waiter = untold.poll().flushed;
        if (waiter != null) flushed.add(waiter);
      }
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
      // What the stream as a whole was refused for goes for its oldest batch, unless that turns out to be stored.
      boolean isRefused = !Failure.isPassing(error) || (Failure.isTooLarge(error) && !inFlight.isEmpty());
      breakOff(stream, error, isRefused ? oldest() : null);
    } finally {
      lock.unlock();
    }
  }

  private boolean isCurrent(PublishStream stream) {
    return state instanceof State.Streaming streaming && streaming.stream() == stream;
  }

  // --- Recovering -------------------------------------------------------------------------------------------

  /** Gives the stream up and recovers; `refused` is the batch that the error refuses for good, if it does. */
  private void breakOff(PublishStream stream, SluiceException error, Batch refused) {
    state = new State.Recovering();
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
        if (!(state instanceof State.Recovering)) return;
        if (Failure.isPassing(failed)) recoverAfter(backoff.nextMs(failed.retryDelay().orElse(null)), error, refused);
        else end(failed);
      } finally {
        lock.unlock();
      }
      return;
    }
    lock.lock();
    try {
      if (!(state instanceof State.Recovering)) return;
      if (position.epoch() > epoch) {
        // Its sequence is another process's by now: it says nothing of what waits here.
        String text = "producer \"" + settings.producerId + "\" was replaced by one with epoch " + position.epoch();
        end(new SluiceException(Code.FAILED_PRECONDITION, "PRODUCER_FENCED", text));
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
    if (state instanceof State.Over) return;
    long now = System.nanoTime();
    SluiceException error = new SluiceException(
        Code.DEADLINE_EXCEEDED, SluiceException.RETRY_TIMEOUT, "no receipt within " + Duration.ofMillis(settings.retryTimeoutMs));
    boolean hasLeft = false;
    for (Batch batch = oldest(); batch != null && batch.expiresAtNanos - now <= 0; batch = oldest()) {
      if (!inFlight.isEmpty()) hasLeft = true;
      Batch expired = inFlight.isEmpty() ? waiting.poll() : inFlight.poll();
      done(expired, () -> expired.fail(error));
    }
    if (state instanceof State.Streaming streaming && hasLeft) {
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
      if (state instanceof State.Over) return;
      closeBatch();
      if (state instanceof State.Streaming streaming) {
        if (inFlight.isEmpty()) streaming.stream().halfClose();
        else streaming.stream().cancel();
      }
      state = new State.Over(error);
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
