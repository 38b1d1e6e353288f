import type { HeldMessage } from './held-message.js';
import type { Range } from './response.js';

/**
 * One range for each partition, from the first to the last message that is held. Whatever lies between and is not leased
 * to this session is not touched by an extension.
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

/** Calls at a third of the time that a lease has, so that two extensions may be late. */
export class LeaseTimer {
  #timer: NodeJS.Timeout | undefined;

  start(ackDeadlineMs: number, extend: () => void): void {
    this.#timer = setInterval(extend, ackDeadlineMs / 3);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
