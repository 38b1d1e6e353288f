import type { KeyRange } from '../engine/engine.js';
import type { Append } from './append.js';
import type { CursorUpdate } from './cursor.js';

/** A round that is being laid out, as the codec of a change sees it. */
export interface ChangeTarget {
  put(column: number, key: Buffer, value: Uint8Array): void;
  delete(column: number, key: Buffer): void;
  /** Removes the range after everything else of the round has been written. */
  clear(column: number, range: KeyRange): void;
  /** Removes the range, including earlier puts of the round, before the round is written. Later puts stay. */
  clearFirst(column: number, range: KeyRange): void;
  /** The appends of a round to one partition become records together. */
  append(append: Append): void;
  /** Updates of one cursor in a round are written once. */
  cursor(update: CursorUpdate): void;
  /** The id of a topic or a subscription is final: the next free ids are stored too. */
  idUsed(): void;
}
