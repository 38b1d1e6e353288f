import type { RoundBlock } from './round.js';
import type { RoundNote } from './round-note.js';

/** What the main thread and the writer thread say to each other. */

export interface WriterThreadData {
  /** Of the open database. */
  readonly handle: bigint;
  readonly columnNames: readonly string[];
  /** Where the note of the last round is, and what it says. */
  readonly notePath: string;
  readonly databasePath: string;
  readonly note: RoundNote;
}

export type ToWriterThread =
  | ({ readonly kind: 'round'; readonly isSynced: boolean } & RoundBlock)
  /** Nothing more will come. */
  | { readonly kind: 'end' };

export type FromWriterThread =
  | { readonly kind: 'ready' }
  /** The oldest round that was not answered yet is written; here is its block. */
  | { readonly kind: 'written'; readonly block: ArrayBuffer }
  /** The oldest round that was not answered yet failed; it and everything later is not written. */
  | { readonly kind: 'failed'; readonly message: string; readonly isDamage: boolean };
