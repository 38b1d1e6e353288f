import { closeSync, fdatasync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { LiveFiles } from '../engine/live-files.js';
import { encodeRoundNote, noteRound, type RoundNote } from './round-note.js';

export interface RoundNoteOptions {
  readonly path: string;
  readonly databasePath: string;
  readonly note: RoundNote;
  readonly nowMs: () => number;
  readonly syncEveryMs: number;
}

/**
 * Keeps the note of the last round, in the writer thread. Each round costs the write of one sector to the page
 * cache and one stat of the directory, about ten microseconds together. Syncs run beside the rounds, at intervals.
 */
export class RoundNoteWriter {
  readonly #options: RoundNoteOptions;
  readonly #file: number;
  readonly #liveFiles: LiveFiles;
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
    this.#liveFiles = new LiveFiles(options.databasePath);
  }

  /** A round was written. Throws if it can't be noted, or if a file that it was written to no longer exists. */
  roundWritten(sequence: number, isSynced: boolean): void {
    this.#round++;
    noteRound(this.#bytes, this.#round, sequence, isSynced);
    writeSync(this.#file, this.#bytes, 0, this.#bytes.length, 0);
    this.#liveFiles.check();
    if (this.#options.nowMs() - this.#syncedAtMs >= this.#options.syncEveryMs) {
      this.#liveFiles.refresh();
      this.#sync();
    }
  }

  /** Syncs the note a last time. A sync under way keeps the file open until the thread ends. */
  close(): void {
    fdatasyncSync(this.#file);
    if (!this.#isSyncing) closeSync(this.#file);
  }

  #sync(): void {
    this.#syncedAtMs = this.#options.nowMs();
    if (this.#isSyncing) return;
    this.#isSyncing = true;
    fdatasync(this.#file, () => {
      // A failure leaves the note older than necessary. On such a disk the next sync of a round will fail too.
      this.#isSyncing = false;
    });
  }
}
