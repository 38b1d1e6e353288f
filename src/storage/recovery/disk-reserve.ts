import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '../../base/clock.js';
import { endOnDefect } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import { MiB } from '../../base/units.js';
import { freeDiskBytes, removeFile } from '../engine/files.js';

/**
 * Disk space that is kept for the next start. Opening the database writes the contents of its log into tables
 * before it drops the log. Without a reserve, a broker could not start on a full disk, and no consumer could make
 * room. When the disk runs low, a file takes about as much space as the log. Every start begins by removing the
 * file.
 */
export const reserveName = 'reserve';

/**
 * Space beside the contents of the log: for the new log, the manifest, and settlements until something was
 * removed.
 */
const marginBytes = 16 * MiB;
/** The reserve for a log of any size. */
const largestLogBytes = 256 * MiB;
const chunk = Buffer.alloc(1 * MiB, 0x52);

export interface DiskReserveServices {
  readonly directory: string;
  readonly databasePath: string;
  /** 0: the disk is not watched, and there is no reserve. */
  readonly minFreeDiskBytes: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Removes the reserve, if there is one. */
export async function releaseReserve(directory: string): Promise<void> {
  await removeFile(join(directory, reserveName));
}

export class DiskReserve {
  readonly #services: DiskReserveServices;
  #heldBytes = 0;
  #timer: Timer | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(services: DiskReserveServices) {
    this.#services = services;
  }

  /** Checks the disk now, and then at intervals. */
  start(): void {
    if (this.#isStopped || this.#services.minFreeDiskBytes === 0) return;
    this.#looking = this.#look().finally(() => {
      if (this.#isStopped) return;
      this.#timer = this.#services.clock.after(limits.freeDiskCheckEveryMs, () => this.start());
    });
  }

  /** Stops. Keeps the reserve. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { directory, databasePath, minFreeDiskBytes, logger } = this.#services;
    try {
      const freeBytes = await freeDiskBytes(directory);
      // Most disks are far from full: then nothing else is checked.
      if (freeBytes >= minFreeDiskBytes + 2 * (largestLogBytes + marginBytes)) return;
      const wantedBytes = marginBytes + Math.min(largestLogBytes, await logBytes(databasePath));
      const missingBytes = wantedBytes - this.#heldBytes;
      if (missingBytes <= 0 || freeBytes >= minFreeDiskBytes + 2 * wantedBytes) return;
      // Half of the remaining space is left for the current writers.
      if (freeBytes < 2 * missingBytes) return;
      await this.#extend(missingBytes);
      logger.info(
        { reserveBytes: this.#heldBytes, freeBytes },
        'the disk runs low: kept a reserve for the next start',
      );
    } catch (error) {
      endOnDefect(error);
      logger.warn({ error: String(error) }, 'no disk space could be reserved for the next start');
    }
  }

  async #extend(byteLength: number): Promise<void> {
    const file = await open(join(this.#services.directory, reserveName), 'a');
    try {
      for (let left = byteLength; left > 0; left -= chunk.length) {
        const { bytesWritten } = await file.write(chunk, 0, Math.min(left, chunk.length));
        this.#heldBytes += bytesWritten;
      }
    } finally {
      await file.close();
    }
  }
}

/** The size of the files of the write-ahead log. */
async function logBytes(databasePath: string): Promise<number> {
  const names = (await readdir(databasePath)).filter((name) => name.endsWith('.log'));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(databasePath, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
