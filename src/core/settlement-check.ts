import { SluiceError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Settlement } from './types.js';

/** Refuses the whole list if one settlement is invalid: afterwards none can fail. */
export function checkSettlements(
  settlements: readonly Settlement[],
  hasPartition: (partition: number) => boolean,
): void {
  for (const [index, settlement] of settlements.entries()) {
    const field = `settlements[${index}]`;
    const { partition, first, last, outcome } = settlement;
    if (!hasPartition(partition)) {
      throw new SluiceError('UNKNOWN_PARTITION', `the topic has no partition ${partition}`, {
        field: `${field}.offsets.partition`,
      });
    }
    if (!(first >= 0 && first <= last)) {
      throw new SluiceError(
        'INVALID_FIELD',
        `offsets ${first} to ${last}: the first must not be after the last`,
        { field: `${field}.offsets` },
      );
    }
    if (outcome.kind === 'extend') {
      checkDuration(outcome.byMs, limits.maxAckDeadlineMs, `${field}.extend.by`);
    }
    if (outcome.kind === 'nack' && outcome.delayMs !== undefined) {
      checkDuration(outcome.delayMs, limits.maxBackoffMs, `${field}.nack.delay`);
    }
  }
}

function checkDuration(ms: number, maxMs: number, field: string): void {
  if (ms >= 0 && ms <= maxMs) return;
  throw new SluiceError('INVALID_FIELD', `${ms} ms is not between 0 and ${maxMs} ms`, { field });
}
