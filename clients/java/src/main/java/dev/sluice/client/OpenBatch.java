package dev.sluice.client;

import java.util.concurrent.TimeUnit;

/**
 * The batch that takes messages: opens it, and closes it when it is full or has waited for long
 * enough. Guarded by the lock of the outbox.
 *
 * <p>The outbox sends a batch as soon as it is closed, or due and one more batch may be under way.
 */
final class OpenBatch {
  /**
   * How long a due batch takes messages at most, if there is a retry timeout: all its messages
   * expire together.
   */
  private static final long MAX_SHARE_MS = 500;

  private final ProducerBuilder settings;
  private final Batches batches;

  /** Runs a task, and then sends what may be sent. */
  private final LockedTimer timer;

  private boolean isLingering;

  /** The size of the last batch. The next batch begins with as much room. */
  private int usualBytes = 512;

  private int usualCount = 16;

  OpenBatch(ProducerBuilder settings, Batches batches, LockedTimer timer) {
    this.settings = settings;
    this.batches = batches;
    this.timer = timer;
  }

  /**
   * Whether a message of `more` bytes needs a new batch. `expiresAtNanos` is 0 for a message that
   * did not wait for room.
   */
  boolean needsNew(int more, long expiresAtNanos) {
    Batch open = batches.open();
    if (open == null) return true;
    return open.byteLength() + more > settings.batchMaxBytes
        || expiresMuchEarlier(expiresAtNanos, open);
  }

  private boolean expiresMuchEarlier(long expiresAtNanos, Batch open) {
    if (settings.retryTimeoutMs == 0 || expiresAtNanos == 0) return false;
    return open.expiresAtNanos - expiresAtNanos > TimeUnit.MILLISECONDS.toNanos(shareMs());
  }

  private long shareMs() {
    return Math.max(1, Math.min(MAX_SHARE_MS, settings.retryTimeoutMs / 2));
  }

  /** Closes the open batch, and opens a new one that begins with a message of `more` bytes. */
  Batch openNew(int more, long expiresAtNanos) {
    close();
    Batch made = new Batch(Math.max(usualBytes, more), usualCount);
    made.expiresAtNanos = expiresAtNanos;
    batches.open(made);
    if (settings.lingerMs == 0) due();
    else if (!isLingering) linger(made);
    return made;
  }

  /**
   * Makes the batch due after the linger. There is one timer at a time: when it fires, and another
   * batch is open by then, it starts again for that batch.
   */
  private void linger(Batch batch) {
    isLingering = true;
    timer.after(
        settings.lingerMs(),
        () -> {
          isLingering = false;
          Batch open = batches.open();
          if (open == batch) due();
          else if (open != null && !batches.isDue()) linger(open);
        });
  }

  /**
   * Makes the open batch due: it is sent as soon as one more may be under way. Until then it takes
   * messages, whatever the linger is, so that messages that wait share a request.
   */
  void due() {
    Batch batch = batches.open();
    if (batch == null || batches.isDue()) return;
    batches.due();
    if (settings.retryTimeoutMs == 0) return;
    timer.after(
        shareMs(),
        () -> {
          if (batches.open() == batch) close();
        });
  }

  /** Closes the batch if it has reached a limit. */
  void closeIfFull(Batch batch) {
    boolean isFull =
        batch.byteLength() >= settings.batchMaxBytes || batch.count() >= settings.batchMaxMessages;
    if (isFull) close();
  }

  /** The open batch takes no more messages. */
  void close() {
    Batch batch = batches.open();
    if (batch == null) return;
    usualBytes = batch.byteLength();
    usualCount = batch.count();
    batches.close();
  }
}
