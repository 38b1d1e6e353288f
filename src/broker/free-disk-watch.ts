import type { Clock, Timer } from '../base/clock.js';
import { SluiceError } from '../base/errors.js';
import { endOnDefect } from '../base/invariant.js';
import { limits } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import { type RefusingObstacle, Waiters } from './obstacle.js';

export interface FreeDiskWatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly minFreeBytes: number;
  /** Free bytes on the disk of the store. */
  readonly probe: () => Promise<number>;
}

/**
 * Looks at the free space of the data disk now and then. A store that runs into a full disk is lost until
 * somebody makes room; holding producers before leaves room for acknowledging, which frees some.
 */
export class FreeDiskWatch implements RefusingObstacle {
  readonly holdReason = 'disk';
  readonly #options: FreeDiskWatchOptions;
  readonly #waiters = new Waiters();
  #isLow = false;
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(options: FreeDiskWatchOptions) {
    this.#options = options;
  }

  get isInTheWay(): boolean {
    return this.#isLow;
  }

  wait(enter: () => void): () => void {
    return this.#waiters.add(enter);
  }

  refusal(): SluiceError {
    const { minFreeBytes } = this.#options;
    return new SluiceError(
      'DISK_NEARLY_FULL',
      `the broker's disk has less than ${minFreeBytes} bytes free: publishing waits until there is room`,
      { retryAfterMs: limits.diskRetryAfterMs, metadata: { minFreeDiskBytes: String(minFreeBytes) } },
    );
  }

  /** Looks once and then goes on by itself. */
  async start(): Promise<void> {
    await this.#look();
    if (this.#isStopped) return;
    this.#timer = this.#options.clock.after(limits.freeDiskCheckEveryMs, () => void this.start());
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  async #look(): Promise<void> {
    const { probe, minFreeBytes, logger } = this.#options;
    try {
      const freeBytes = await probe();
      const isLow = freeBytes < minFreeBytes;
      if (isLow !== this.#isLow) {
        const message = isLow ? 'disk nearly full: producers are held' : 'disk has room: publishing goes on';
        logger.warn({ freeBytes, minFreeBytes }, message);
      }
      this.#isLow = isLow;
      this.#waiters.admit(() => !this.#isLow);
    } catch (error) {
      endOnDefect(error);
      // Not knowing is no reason to refuse work; a disk that is really gone fails the next commit.
      logger.warn({ error }, 'free disk space could not be read');
    }
  }
}
