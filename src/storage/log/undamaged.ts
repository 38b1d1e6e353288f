import { SluiceError } from '../../base/errors.js';
import { endOnDefect } from '../../base/invariant.js';
import { DamagedRecord } from '../codec/record.js';
import { damageMessage, engineFault } from '../engine/engine.js';

/**
 * Repeats reads once if the disk failed. Rejects with READ_FAILED if the disk fails again, with DATA_LOSS if the database
 * is damaged.
 */
export async function undamaged<T>(what: string, read: () => Promise<T>): Promise<T> {
  for (let isRetry = false; ; isRetry = true) {
    try {
      return await read();
    } catch (error) {
      endOnDefect(error);
      const fault = error instanceof DamagedRecord ? 'corruption' : engineFault(error);
      if (fault === 'io' && !isRetry) continue;
      if (fault !== 'corruption' && fault !== 'io') throw error;
      throw unreadable(what, fault, error);
    }
  }
}

function unreadable(what: string, fault: 'io' | 'corruption', cause: unknown): SluiceError {
  const [reason, why] =
    fault === 'io'
      ? (['READ_FAILED', 'the disk failed twice'] as const)
      : (['DATA_LOSS', 'it is damaged'] as const);
  return new SluiceError(reason, `${what} can't be read, ${why}: ${damageMessage(cause)}`, { cause });
}
