import type { Interval } from '../base/positions.js';
import { appendInterval } from './intervals.js';
import type { Ledger } from './ledger.js';

/** The offsets from `first` to `last` that are settled, and not among `held` (ascending): ascending. */
export function settledOffsets(
  ledger: Ledger,
  first: number,
  last: number,
  held: readonly Interval[],
): Interval[] {
  const settled: Interval[] = [];
  let next = first;
  for (const { first: heldFirst, last: heldLast } of [...held, { first: last + 1, last }]) {
    for (let offset = ledger.nextSettled(next); offset < heldFirst; offset = ledger.nextSettled(next)) {
      next = Math.min(heldFirst, ledger.nextUnsettled(offset));
      appendInterval(settled, offset, next - 1);
    }
    next = Math.max(next, heldLast + 1);
  }
  return settled;
}

/** The offsets from `first` to `last` that are neither among `held` (ascending) nor settled: ascending. */
export function staleOffsets(
  ledger: Ledger,
  first: number,
  last: number,
  held: readonly Interval[],
): Interval[] {
  const stale: Interval[] = [];
  let h = 0;
  let offset = ledger.nextUnsettled(first);
  while (offset <= last) {
    while (h < held.length && held[h]!.last < offset) h += 1;
    const nextHeld = held[h]?.first ?? Number.POSITIVE_INFINITY;
    if (nextHeld <= offset) {
      offset = ledger.nextUnsettled(held[h]!.last + 1);
      continue;
    }
    const staleLast = Math.min(last, nextHeld - 1, ledger.nextSettled(offset) - 1);
    appendInterval(stale, offset, staleLast);
    offset = ledger.nextUnsettled(staleLast + 1);
  }
  return stale;
}

/** The parts of these intervals that are not being dead-lettered. */
export function withoutDeadLettering(ledger: Ledger, intervals: Interval[]): Interval[] {
  if (intervals.length === 0 || ledger.nextDeadLettering(0) === Number.POSITIVE_INFINITY) return intervals;
  const others: Interval[] = [];
  for (const { first, last } of intervals) {
    let next = first;
    for (
      let deadLettering = ledger.nextDeadLettering(next);
      deadLettering <= last;
      deadLettering = ledger.nextDeadLettering(next)
    ) {
      if (deadLettering > next) others.push({ first: next, last: deadLettering - 1 });
      next = deadLettering + 1;
    }
    if (next <= last) others.push({ first: next, last });
  }
  return others;
}
