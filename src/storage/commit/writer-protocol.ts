import type { RoundNote } from '../recovery/round-note.js';
import type { RoundBlock } from './round.js';

/** The messages between the main thread and the writer thread. */

export interface WriterThreadData {
  /** The handle of the open database. */
  readonly handle: bigint;
  readonly columnNames: readonly string[];
  /** The path of the note of the last round, and its contents. */
  readonly notePath: string;
  readonly databasePath: string;
  readonly note: RoundNote;
}

export type ToWriterThread =
  | ({ readonly kind: 'round'; readonly isSynced: boolean } & RoundBlock)
  /** The last message. */
  | { readonly kind: 'end' };

export type FromWriterThread =
  | { readonly kind: 'ready' }
  /** The oldest unanswered round is written. Returns its block. */
  | { readonly kind: 'written'; readonly block: ArrayBuffer }
  /** The oldest unanswered round failed: neither it nor any later one is written. */
  | { readonly kind: 'failed'; readonly message: string; readonly isDamage: boolean };
