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
  /** About how much memory it occupies. */
  readonly byteLength: number;
}

/** A transaction without messages occupies memory too. */
const overheadBytes = 256;
const updateBytes = 128;

const none: readonly never[] = [];

export function createSubmission(
  transaction: Transaction,
  changes: Partial<Omit<Submission, 'transaction' | 'byteLength'>>,
): Submission {
  const { producers = none, cursors = none, redrives = none } = transaction;
  const updateCount = producers.length + cursors.length + redrives.length;
  let byteLength = overheadBytes + updateCount * updateBytes;
  for (const append of transaction.appends ?? none) byteLength += append.byteLength;
  // One for every request. Written out, because spreading the objects costs more than everything else here.
  return {
    transaction,
    appendLogs: changes.appendLogs ?? none,
    deletedLogs: changes.deletedLogs ?? none,
    raisedLogs: changes.raisedLogs ?? none,
    deletions: changes.deletions ?? none,
    retiredDeletions: changes.retiredDeletions ?? none,
    byteLength,
  };
}
