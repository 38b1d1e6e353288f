import type { PartitionLog } from '../log/partition-log.js';
import type { Transaction } from '../types.js';

/** A transaction on its way to the disk, with its effects on the store's accounting. */
export interface Submission {
  readonly transaction: Transaction;
  /** The log of each append, in order. */
  readonly appendLogs: readonly PartitionLog[];
  /** All partitions of the deleted topics. */
  readonly deletedLogs: readonly PartitionLog[];
  /** Partitions whose first offset has moved up: records below it are removed. */
  readonly raisedLogs: readonly PartitionLog[];
  /** Notes of the deletions of this transaction. */
  readonly deletions: readonly Buffer[];
  /** Notes of deletions that this transaction removes. */
  readonly retiredDeletions: readonly Buffer[];
  /**
   * Cursor states already show what it changes, and an earlier submission may write such a cursor. A round that ends
   * between the two would settle a message without its dead letter, so no round ends there.
   */
  readonly isBoundToEarlier: boolean;
  /** About how much memory it occupies. */
  readonly byteLength: number;
}

/** A transaction without messages occupies memory too. */
const overheadBytes = 256;
const changeBytes = 128;

const none: readonly never[] = [];

export function createSubmission(
  transaction: Transaction,
  effects: Partial<Omit<Submission, 'transaction' | 'byteLength'>>,
): Submission {
  let byteLength = overheadBytes;
  for (const change of transaction.changes ?? none) {
    byteLength += change.kind === 'append' ? change.byteLength : changeBytes;
  }
  // One for every request. Written out, because spreading the objects costs more than everything else here.
  return {
    transaction,
    appendLogs: effects.appendLogs ?? none,
    deletedLogs: effects.deletedLogs ?? none,
    raisedLogs: effects.raisedLogs ?? none,
    deletions: effects.deletions ?? none,
    retiredDeletions: effects.retiredDeletions ?? none,
    isBoundToEarlier: effects.isBoundToEarlier ?? false,
    byteLength,
  };
}
