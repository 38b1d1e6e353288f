import { type ErrorDetails, type ErrorSubject, SluiceError } from '../base/errors.js';
import { unreachable } from '../base/invariant.js';
import { limits } from '../base/limits.js';
import type { Outcome, Settlement } from './types.js';

/** Refuses the whole list if one settlement is invalid: afterwards none can fail. */
export function checkSettlements(
  settlements: readonly Settlement[],
  hasPartition: (partition: number) => boolean,
): void {
  for (const [index, settlement] of settlements.entries()) {
    const { partition, first, last, outcome } = settlement;
    if (!hasPartition(partition)) {
      throw unknownPartition(partition, { subject: { settlement: index, part: 'partition' } });
    }
    if (!isRange(first, last)) {
      throw new SluiceError(
        'INVALID_FIELD',
        `offsets ${first} to ${last}: they must be whole numbers, and the first must not be after the last`,
        { subject: { settlement: index, part: 'offsets' } },
      );
    }
    if (outcome.kind !== 'ack') checkOutcome(outcome, index);
  }
}

export function unknownPartition(partition: number, details: ErrorDetails = {}): SluiceError {
  return new SluiceError('UNKNOWN_PARTITION', `the topic has no partition ${partition}`, details);
}

function isRange(first: number, last: number): boolean {
  return first >= 0 && first <= last && Number.isSafeInteger(first) && Number.isSafeInteger(last);
}

function checkOutcome(outcome: Outcome, settlement: number): void {
  switch (outcome.kind) {
    case 'ack':
      return;
    case 'extend':
      checkDuration(outcome.byMs, limits.maxAckDeadlineMs, { settlement, part: 'extension' });
      return;
    case 'nack':
      checkReason(outcome.reason ?? '', { settlement, part: 'nackReason' });
      if (outcome.delayMs === undefined) return;
      checkDuration(outcome.delayMs, limits.maxBackoffMs, { settlement, part: 'delay' });
      return;
    case 'deadLetter':
      checkReason(outcome.reason, { settlement, part: 'deadLetterReason' });
      return;
    default:
      unreachable(outcome);
  }
}

/** The reason becomes a header of the dead letter. */
function checkReason(reason: string, subject: ErrorSubject): void {
  if (reason.length <= limits.maxReasonLength) return;
  const text = `the reason has ${reason.length} characters, and may have ${limits.maxReasonLength}`;
  throw new SluiceError('INVALID_FIELD', text, { subject });
}

function checkDuration(ms: number, maxMs: number, subject: ErrorSubject): void {
  if (ms >= 0 && ms <= maxMs) return;
  throw new SluiceError('INVALID_FIELD', `${ms} ms is not between 0 and ${maxMs} ms`, { subject });
}
