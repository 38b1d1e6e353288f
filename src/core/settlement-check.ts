import { type ErrorSubject, SluiceError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Settlement } from './types.js';

/** Refuses the whole list if one settlement is invalid: afterwards none can fail. */
export function checkSettlements(
  settlements: readonly Settlement[],
  hasPartition: (partition: number) => boolean,
): void {
  for (const [index, settlement] of settlements.entries()) {
    const { partition, first, last, outcome } = settlement;
    if (!hasPartition(partition)) {
      throw new SluiceError('UNKNOWN_PARTITION', `the topic has no partition ${partition}`, {
        subject: { settlement: index, part: 'partition' },
      });
    }
    if (!(first >= 0 && first <= last)) {
      throw new SluiceError(
        'INVALID_FIELD',
        `offsets ${first} to ${last}: the first must not be after the last`,
        { subject: { settlement: index, part: 'offsets' } },
      );
    }
    if (outcome.kind === 'extend') {
      checkDuration(outcome.byMs, limits.maxAckDeadlineMs, { settlement: index, part: 'extension' });
    }
    if (outcome.kind === 'nack' && outcome.delayMs !== undefined) {
      checkDuration(outcome.delayMs, limits.maxBackoffMs, { settlement: index, part: 'delay' });
    }
  }
}

function checkDuration(ms: number, maxMs: number, subject: ErrorSubject): void {
  if (ms >= 0 && ms <= maxMs) return;
  throw new SluiceError('INVALID_FIELD', `${ms} ms is not between 0 and ${maxMs} ms`, { subject });
}
