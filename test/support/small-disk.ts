import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MiB } from '../../src/base/units.js';

/** A real file system of a given size, in memory. */
export class SmallDisk {
  readonly directory: string;
  #isMounted = true;

  private constructor(directory: string) {
    this.directory = directory;
    process.once('exit', this.#unmount);
  }

  /** Undefined where this process may not mount anything: the test is to be skipped, visibly. */
  static create(sizeMiB: number): SmallDisk | undefined {
    const directory = mkdtempSync(join(tmpdir(), 'sluice-small-disk-'));
    try {
      const options = `size=${sizeMiB}m`;
      execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'sluice-small-disk', directory], {
        stdio: 'pipe',
      });
    } catch {
      rmdirSync(directory);
      return undefined;
    }
    return new SmallDisk(directory);
  }

  get freeMiB(): number {
    const { bavail, bsize } = statfsSync(this.directory);
    return (bavail * bsize) / MiB;
  }

  dispose(): void {
    process.off('exit', this.#unmount);
    this.#unmount();
  }

  readonly #unmount = (): void => {
    if (!this.#isMounted) return;
    this.#isMounted = false;
    execFileSync('umount', [this.directory]);
    rmdirSync(this.directory);
  };
}
