import { readdirSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { SluiceError } from '../../base/errors.js';

interface WatchedFile {
  readonly path: string;
  readonly ino: number;
  readonly dev: number;
}

interface WatchedLog extends WatchedFile {
  readonly number: number;
}

/**
 * Detects that files of the open database were removed or replaced: RocksDB continues to write to the open file,
 * and the next start would not find those writes. Watches the current file of the write-ahead log, with one stat
 * for each round. Runs in the writer thread.
 */
export class LiveFiles {
  readonly #databasePath: string;
  readonly #lock: WatchedFile;
  /** Undefined if there was none. */
  #log: WatchedLog | undefined;

  constructor(databasePath: string) {
    this.#databasePath = databasePath;
    const lockPath = join(databasePath, 'LOCK');
    this.#lock = watched(lockPath);
    this.#log = newestLog(databasePath);
  }

  /** A round was written. Throws if the file that it was written to no longer exists. */
  check(): void {
    if (this.#log === undefined || !isThere(this.#log)) this.refresh();
  }

  /** Called at intervals: finds the current log file. RocksDB removes earlier ones itself. */
  refresh(): void {
    if (!isThere(this.#lock)) {
      throw removed(this.#lock.path, 'the data directory was removed or replaced while the broker ran');
    }
    const known = this.#log;
    const newest = newestLog(this.#databasePath);
    if (newest !== undefined && newest.number > (known?.number ?? 0)) this.#log = newest;
    else if (known === undefined || !isThere(known)) {
      const path = known?.path ?? this.#databasePath;
      throw removed(path, 'the write-ahead log was removed or replaced while the broker ran');
    }
  }
}

/** Repeats the search if a file was removed between the listing and its stat. */
function newestLog(databasePath: string): WatchedLog | undefined {
  for (let before = 0; ; ) {
    const names = readdirSync(databasePath).filter((name) => /^\d+\.log$/.test(name));
    const number = names.reduce((newest, name) => Math.max(newest, Number.parseInt(name, 10)), 0);
    const path = join(databasePath, `${String(number).padStart(6, '0')}.log`);
    const found = statSync(path, { throwIfNoEntry: false });
    if (found !== undefined) return { path, number, ino: found.ino, dev: found.dev };
    if (number <= before) return undefined;
    before = number;
  }
}

function watched(path: string): WatchedFile {
  const { ino, dev } = statSync(path);
  return { path, ino, dev };
}

function isThere({ path, ino, dev }: WatchedFile): boolean {
  const found: Stats | undefined = statSync(path, { throwIfNoEntry: false });
  return found !== undefined && found.ino === ino && found.dev === dev;
}

function removed(path: string, what: string): SluiceError {
  return new SluiceError('STORAGE_FAILED', `${path} is gone: ${what}`);
}
