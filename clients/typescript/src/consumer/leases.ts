import type { HeldMessage } from './held-message.js';
import type { Range } from './response.js';

/**
 * One range for each partition, from the first to the last held message. An extension does not change messages between
 * them that are not leased to this session.
 */
export function heldRanges(messages: Iterable<HeldMessage>): Range[] {
  const ranges = new Map<number, { partition: number; first: number; last: number }>();
  for (const { partition, offsetNumber, isHeld } of messages) {
    if (!isHeld) continue;
    const range = ranges.get(partition);
    if (range === undefined) {
      ranges.set(partition, { partition, first: offsetNumber, last: offsetNumber });
    } else {
      range.first = Math.min(range.first, offsetNumber);
      range.last = Math.max(range.last, offsetNumber);
    }
  }
  return [...ranges.values()];
}

/** Fires each third of the lease time, so that two extensions may be late. */
export class LeaseTimer {
  #timer: NodeJS.Timeout | undefined;

  start(ackDeadlineMs: number, extend: () => void): void {
    this.#timer = setInterval(extend, ackDeadlineMs / 3);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
