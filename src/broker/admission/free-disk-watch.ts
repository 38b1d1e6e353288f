import type { Clock, Timer } from '../../base/clock.js';
import { SluiceError } from '../../base/errors.js';
import { endOnDefect } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import { type RefusingGate, Waiters } from './admission-gate.js';

/** How many bytes were submitted to the store, and how many of them are not written. */
export interface WriteProgress {
  /** Bytes that were submitted since the store was opened. */
  readonly submittedBytes: number;
  /** The part of them that waits for the writer, or is being written. */
  readonly queuedBytes: number;
}

export interface FreeDiskWatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly minFreeBytes: number;
  /** Free bytes on the disk of the store. */
  readonly probe: () => Promise<number>;
  readonly progress: WriteProgress;
  /** The largest partition count of a topic: each partition number has its own memtables. */
  readonly topics: { readonly mostPartitions: number };
}

/**
 * Keeps a reserve free on the data disk. On a full disk the store fails until there is room. Holding producers before
 * that leaves room for acknowledgements, which free disk space.
 *
 * Between two checks of the disk it counts every submission: messages, dead letters, redrives and settlements. Each byte
 * is written twice, to the log and to a table, and is charged twice when it is submitted. So submissions can't use the
 * reserve, however fast the broker writes: when the charges have used half of the margin, the disk is checked again; when
 * they have used all of it, producers are held until that check is done. The contents of the memtables are in the log
 * already, and will be written to tables: as much space is kept free too.
 *
 *     free at the last check                                                 reserve
 *     |------------------- margin --------------------------------------------|----------|
 *     |== charged since, twice ==>          | check again                     | hold
 */
export class FreeDiskWatch implements RefusingGate {
  readonly holdReason = 'disk';
  readonly #options: FreeDiskWatchOptions;
  readonly #waiters = new Waiters();
  /** Free bytes above the reserve at the last check. Later submissions are not subtracted. */
  #marginBytes = Number.POSITIVE_INFINITY;
  /** How many of the submitted bytes had been written when that check began. */
  #writtenBytes = 0;
  /** The last check found that the reserve is in use. */
  #isLow = false;
  #look: Promise<void> | undefined;
  #timer: Timer | undefined;
  #again: Timer | undefined;
  #isStopped = false;

  constructor(options: FreeDiskWatchOptions) {
    this.#options = options;
  }

  /**
   * Whether producers are held. Starts a check of the disk if the charges have used half of the margin: call it before
   * each submission.
   */
  isClosedStartingDueCheck(): boolean {
    if (this.#isLow) return true;
    const chargedBytes = this.#chargedBytes;
    if (chargedBytes * 2 < this.#marginBytes) return false;
    // A check finds nothing new before more bytes have been written.
    if (this.#nowWrittenBytes > this.#writtenBytes) void this.#lookNow();
    return chargedBytes > this.#marginBytes;
  }

  wait(enter: () => void): () => void {
    return this.#waiters.add(enter);
  }

  refusal(): SluiceError {
    const { minFreeBytes } = this.#options;
    return new SluiceError(
      'DISK_NEARLY_FULL',
      `the broker's disk is nearly full: what it is about to write would leave less than ${minFreeBytes} bytes free`,
      { retryAfterMs: limits.diskRetryAfterMs, metadata: { minFreeDiskBytes: String(minFreeBytes) } },
    );
  }

  /** Throws DISK_NEARLY_FULL if nothing may be stored. */
  check(): void {
    if (this.isClosedStartingDueCheck()) throw this.refusal();
  }

  /** Checks the disk now, and then at intervals. */
  async start(): Promise<void> {
    await this.#lookNow();
    if (this.#isStopped) return;
    this.#timer = this.#options.clock.after(limits.freeDiskCheckEveryMs, () => void this.start());
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#again?.cancel();
  }

  get #chargedBytes(): number {
    return (this.#options.progress.submittedBytes - this.#writtenBytes) * limits.diskBytesPerByte;
  }

  /** How many of the submitted bytes are written. */
  get #nowWrittenBytes(): number {
    const { submittedBytes, queuedBytes } = this.#options.progress;
    return submittedBytes - queuedBytes;
  }

  /** Bytes that may be only in the log. They will be written to tables even if producers are held. */
  get #untabledBytes(): number {
    return (this.#options.topics.mostPartitions + limits.fullMemtables) * limits.memtableBytes;
  }

  /** One check at a time: a caller that needs one during a check waits for that check. */
  #lookNow(): Promise<void> {
    this.#look ??= this.#lookOnce().finally(() => {
      this.#look = undefined;
      this.#waiters.admit(() => !this.isClosedStartingDueCheck());
      this.#lookAgainSoon();
    });
    return this.#look;
  }

  /** Producers that are held only because of charges continue as soon as their submissions are written. */
  #lookAgainSoon(): void {
    if (this.#isStopped || this.#isLow || this.#waiters.count === 0 || this.#again !== undefined) return;
    this.#again = this.#options.clock.after(limits.freeDiskRecheckMs, () => {
      this.#again = undefined;
      if (this.#nowWrittenBytes > this.#writtenBytes) void this.#lookNow();
      else this.#lookAgainSoon();
    });
  }

  async #lookOnce(): Promise<void> {
    const { probe, minFreeBytes, logger } = this.#options;
    // Bytes that are written during the check may count twice. They are never left out.
    const writtenBytes = this.#nowWrittenBytes;
    try {
      const freeBytes = await probe();
      this.#writtenBytes = writtenBytes;
      const untabledBytes = Math.min(writtenBytes, this.#untabledBytes);
      this.#marginBytes = freeBytes - minFreeBytes - untabledBytes;
      const isLow = this.#marginBytes < 0;
      if (isLow !== this.#isLow) {
        const message = isLow
          ? 'disk nearly full: producers are held'
          : 'disk has room: publishing continues';
        logger.warn({ freeBytes, minFreeBytes, untabledBytes }, message);
      }
      this.#isLow = isLow;
    } catch (error) {
      endOnDefect(error);
      // An unknown state of the disk is no reason to hold producers. If the disk has failed, so will the next commit.
      this.#writtenBytes = writtenBytes;
      this.#marginBytes = Number.POSITIVE_INFINITY;
      this.#isLow = false;
      logger.warn({ error }, 'free disk space could not be read');
    }
  }
}
