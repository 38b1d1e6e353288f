import type { Clock, Timer } from '../base/clock.js';
import { SluiceError } from '../base/errors.js';
import { endOnDefect } from '../base/invariant.js';
import { limits } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import { type RefusingGate, Waiters } from './admission-gate.js';

/** What the store has been given, and what of it is not written. */
export interface WriteProgress {
  /** All that was ever submitted, since the store was opened. */
  readonly submittedBytes: number;
  /** What of it waits for the writer, or is with it. */
  readonly queuedBytes: number;
}

export interface FreeDiskWatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly minFreeBytes: number;
  /** Free bytes on the disk of the store. */
  readonly probe: () => Promise<number>;
  readonly progress: WriteProgress;
  /** The most partitions that a topic has: each number has memtables of its own. */
  readonly partitionCount: () => number;
}

/**
 * Keeps a reserve free on the data disk. A store that runs into a full disk is lost until room is made; holding
 * producers before leaves room for acknowledging, which frees some.
 *
 * Between two looks at the disk it counts everything that is submitted: messages, dead letters, redrives and
 * settlements. Each byte is written twice, to the log and to a table, and is charged twice as soon as it is submitted. So
 * however fast the broker writes, what is submitted does not pass the reserve: when the charges have used up half of what
 * was free above it, it looks again, and when they have used up all of it, producers are held until that look is done.
 * What fills the memtables is in the log already, and is still to be written to tables: so much is kept free as well.
 *
 *     free at the last look                                                  reserve
 *     |------------------- margin --------------------------------------------|----------|
 *     |== charged since, twice ==>          | look again                      | hold
 */
export class FreeDiskWatch implements RefusingGate {
  readonly holdReason = 'disk';
  readonly #options: FreeDiskWatchOptions;
  readonly #waiters = new Waiters();
  /** Free above the reserve at the last look; what has been submitted since is not taken off. */
  #marginBytes = Number.POSITIVE_INFINITY;
  /** What had been written, of all that was submitted, when that look began. */
  #writtenBytes = 0;
  /** The last look found the reserve used. */
  #isLow = false;
  #look: Promise<void> | undefined;
  #timer: Timer | undefined;
  #again: Timer | undefined;
  #isStopped = false;

  constructor(options: FreeDiskWatchOptions) {
    this.#options = options;
  }

  get isClosed(): boolean {
    if (this.#isLow) return true;
    const chargedBytes = this.#chargedBytes;
    if (chargedBytes * 2 < this.#marginBytes) return false;
    // Before anything more has been written, a look could tell nothing new.
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

  /** Looks once and then goes on by itself. */
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

  /** What is written of all that was submitted. */
  get #nowWrittenBytes(): number {
    const { submittedBytes, queuedBytes } = this.#options.progress;
    return submittedBytes - queuedBytes;
  }

  /** What may be in the log only: it is going to be written to tables, whatever is held. */
  get #untabledBytes(): number {
    return (this.#options.partitionCount() + limits.fullMemtables) * limits.memtableBytes;
  }

  /** One look at a time: a caller that wants another one meanwhile waits for that. */
  #lookNow(): Promise<void> {
    this.#look ??= this.#lookOnce().finally(() => {
      this.#look = undefined;
      this.#waiters.admit(() => !this.isClosed);
      this.#lookAgainSoon();
    });
    return this.#look;
  }

  /** Producers that are held by charges alone go on as soon as what they have submitted is written. */
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
    // What is written while the disk is asked may be counted twice, and never not at all.
    const writtenBytes = this.#nowWrittenBytes;
    try {
      const freeBytes = await probe();
      this.#writtenBytes = writtenBytes;
      const untabledBytes = Math.min(writtenBytes, this.#untabledBytes);
      this.#marginBytes = freeBytes - minFreeBytes - untabledBytes;
      const isLow = this.#marginBytes < 0;
      if (isLow !== this.#isLow) {
        const message = isLow ? 'disk nearly full: producers are held' : 'disk has room: publishing goes on';
        logger.warn({ freeBytes, minFreeBytes, untabledBytes }, message);
      }
      this.#isLow = isLow;
    } catch (error) {
      endOnDefect(error);
      // Not knowing is no reason to refuse work; a disk that is really gone fails the next commit.
      this.#writtenBytes = writtenBytes;
      this.#marginBytes = Number.POSITIVE_INFINITY;
      this.#isLow = false;
      logger.warn({ error }, 'free disk space could not be read');
    }
  }
}
