import { SluiceError } from '../base/errors.js';
import type { Storage, Transaction } from '../storage/types.js';

/** A transaction without the callbacks that `commit` adds. */
type Change = Omit<Transaction, 'onCommitted' | 'onFailed'>;

/** The error of every call that was under way when a write failed. */
export function storageFailed(cause: unknown): SluiceError {
  return new SluiceError(
    'STORAGE_FAILED',
    'the store failed, and the broker ends: try again once it has been started again',
    { retryAfterMs: 1_000, cause },
  );
}

/**
 * Submits a change and resolves when it is durable. An empty change is a barrier: it resolves when every earlier
 * submission is durable.
 */
export function commit(storage: Storage, change: Change): Promise<void> {
  return new Promise((resolve, reject) => {
    storage.submit({ ...change, onCommitted: resolve, onFailed: (error) => reject(storageFailed(error)) });
  });
}
