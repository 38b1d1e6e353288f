import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { watch } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildPreload } from './preload.js';

/** A stall: nothing is synced until the delay is changed. */
export const untilReleased = 24 * 60 * 60 * 1000;

/**
 * A disk that syncs as slowly as it is told: a library that is preloaded into the broker delays fsync and fdatasync.
 * What is written without a sync is as fast as ever, as with a real disk behind a page cache.
 */
export class SlowDisk {
  readonly #library: string;
  readonly #directory: string;
  readonly #control: string;

  private constructor(library: string) {
    this.#library = library;
    this.#directory = mkdtempSync(join(tmpdir(), 'sluice-slow-disk-'));
    this.#control = join(this.#directory, 'delay-ms');
    this.setDelayMs(0);
  }

  /** Undefined where there is no gcc to build the library with: the test is to be skipped, visibly. */
  static create(): SlowDisk | undefined {
    const library = buildPreload('slow-disk');
    return library === undefined ? undefined : new SlowDisk(library);
  }

  /** The environment of the broker that has this disk. */
  get env(): Readonly<Record<string, string>> {
    return { LD_PRELOAD: this.#library, SLOW_DISK_CONTROL: this.#control };
  }

  /** Takes effect at once, also on syncs that are being held. */
  setDelayMs(delayMs: number): void {
    const next = `${this.#control}.next`;
    writeFileSync(next, String(delayMs));
    renameSync(next, this.#control);
  }

  /** Resolves when a sync is being held that began after the call. */
  async held(): Promise<void> {
    const name = 'delay-ms.held';
    const path = join(this.#directory, name);
    rmSync(path, { force: true });
    const leave = new AbortController();
    try {
      const changes = watch(this.#directory, { signal: leave.signal });
      const iterator = changes[Symbol.asyncIterator]();
      // Watching begins with the first `next`; only then is it sure that nothing is missed.
      let change = iterator.next();
      while (!existsSync(path)) {
        await change;
        change = iterator.next();
      }
      change.catch(() => 'the watch was ended');
    } finally {
      leave.abort();
    }
  }

  dispose(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
