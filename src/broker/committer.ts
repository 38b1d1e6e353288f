import { SluiceError } from '../base/errors.js';
import type { Storage, Transaction } from '../storage/types.js';

/** A transaction without the callbacks that `commit` adds. */
type Unanswered = Omit<Transaction, 'onCommitted' | 'onFailed'>;

/** The error of every call that was under way when a write failed. */
export function storageFailed(cause: unknown): SluiceError {
  return new SluiceError(
    'STORAGE_FAILED',
    'the store failed, and the broker ends: try again once it has been started again',
    { retryAfterMs: 1_000, cause },
  );
}

/**
 * Submits a transaction and resolves when it is durable. One without changes is a barrier: it resolves when every earlier
 * submission is durable. Rejects if the store refuses the transaction.
 */
export function commit(storage: Storage, transaction: Unanswered): Promise<void> {
  return new Promise((resolve, reject) => {
    storage.submit(answering(transaction, resolve, reject));
  });
}

/** Like `commit`, but throws at once if the store refuses the transaction: nothing has changed then. */
export function submit(storage: Storage, transaction: Unanswered): Promise<void> {
  let answered: Transaction = transaction;
  const durable = new Promise<void>((resolve, reject) => {
    answered = answering(transaction, resolve, reject);
  });
  storage.submit(answered);
  return durable;
}

function answering(
  transaction: Unanswered,
  resolve: () => void,
  reject: (error: SluiceError) => void,
): Transaction {
  return { ...transaction, onCommitted: resolve, onFailed: (error) => reject(storageFailed(error)) };
}
