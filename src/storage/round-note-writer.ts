import { closeSync, fdatasync, fdatasyncSync, openSync, statSync, writeSync } from 'node:fs';
import { SluiceError } from '../base/errors.js';
import { encodeRoundNote, noteRound, type RoundNote } from './round-note.js';

export interface RoundNoteOptions {
  readonly path: string;
  /** The lock file of the database: it is there, and the same, as long as the data directory is. */
  readonly lockPath: string;
  readonly note: RoundNote;
  readonly nowMs: () => number;
  readonly syncEveryMs: number;
}

/**
 * Keeps the note of the last round, in the writer thread. Each round costs a write of one sector to memory of the
 * system and a look at a directory, some ten microseconds together. A sync now and then runs beside the rounds.
 */
export class RoundNoteWriter {
  readonly #options: RoundNoteOptions;
  readonly #file: number;
  readonly #lock: { readonly ino: number; readonly dev: number };
  readonly #bytes: Buffer;
  #round: number;
  #syncedAtMs: number;
  #isSyncing = false;

  constructor(options: RoundNoteOptions) {
    this.#options = options;
    this.#bytes = encodeRoundNote(options.note);
    this.#round = options.note.round;
    this.#syncedAtMs = options.nowMs();
    this.#file = openSync(options.path, 'r+');
    this.#lock = statSync(options.lockPath);
  }

  /** A round is written. Throws when it can't be noted, or when the data directory is gone. */
  roundWritten(sequence: number, isSynced: boolean): void {
    this.#round++;
    noteRound(this.#bytes, this.#round, sequence, isSynced);
    writeSync(this.#file, this.#bytes, 0, this.#bytes.length, 0);
    this.#checkPlace();
    if (this.#options.nowMs() - this.#syncedAtMs >= this.#options.syncEveryMs) this.#sync();
  }

  /** Syncs the note a last time. A sync under way keeps the file open until the thread ends. */
  close(): void {
    fdatasyncSync(this.#file);
    if (!this.#isSyncing) closeSync(this.#file);
  }

  /** What is written to a file that was removed is lost with the process. */
  #checkPlace(): void {
    const lock = statSync(this.#options.lockPath, { throwIfNoEntry: false });
    if (lock !== undefined && lock.ino === this.#lock.ino && lock.dev === this.#lock.dev) return;
    throw new SluiceError(
      'STORAGE_FAILED',
      `${this.#options.lockPath} is gone: the data directory was removed or replaced while the broker ran`,
    );
  }

  #sync(): void {
    this.#syncedAtMs = this.#options.nowMs();
    if (this.#isSyncing) return;
    this.#isSyncing = true;
    fdatasync(this.#file, () => {
      // A failure leaves the note older than it could be, on a disk whose next sync of a round will fail as well.
      this.#isSyncing = false;
    });
  }
}
