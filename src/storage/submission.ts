import type { PartitionLog } from './partition-log.js';
import type { Transaction } from './types.js';

/** A transaction on its way to the disk, with what it means for the store's accounting. */
export interface Submission {
  readonly transaction: Transaction;
  /** Of each append, in order. */
  readonly appendLogs: readonly PartitionLog[];
  /** All partitions of the topics that it deletes. */
  readonly deletedLogs: readonly PartitionLog[];
  /** Partitions whose first offset has moved up: what is wholly below is removed. */
  readonly raisedLogs: readonly PartitionLog[];
  /** Notes that it makes of what it deletes. */
  readonly deletions: readonly Buffer[];
  /** Notes of deletions that it removes. */
  readonly retiredDeletions: readonly Buffer[];
  /** About what it occupies in memory. */
  readonly byteLength: number;
}

/** A transaction costs something even when it carries no message. */
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
  // One for every request: written out, for spreading objects costs more than all the rest of it.
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
