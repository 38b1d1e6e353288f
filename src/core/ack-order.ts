import type { Settlement } from './types.js';

/**
 * Merges settlements that are all acknowledgements: their order means nothing, so they are sorted by offset and
 * joined where they touch. A consumer that acknowledges each message by itself, in any order, then costs little
 * more than one that acknowledges ranges.
 */
export function joinedAcks(settlements: readonly Settlement[]): readonly Settlement[] {
  if (settlements.length < 2 || settlements.some(({ outcome }) => outcome.kind !== 'ack')) return settlements;
  const joined: Settlement[] = [];
  let { partition, first, last, outcome } = settlements[0]!;
  let isBegun = false;
  for (const next of inOrder(settlements)) {
    if (isBegun && next.partition === partition && next.first <= last + 1) {
      last = Math.max(last, next.last);
      continue;
    }
    if (isBegun) joined.push({ partition, first, last, outcome });
    isBegun = true;
    ({ partition, first, last, outcome } = next);
  }
  joined.push({ partition, first, last, outcome });
  return joined;
}

function inOrder(settlements: readonly Settlement[]): readonly Settlement[] {
  const isInOrder = settlements.every((each, i) => i === 0 || compare(settlements[i - 1]!, each) <= 0);
  return isInOrder ? settlements : settlements.toSorted(compare);
}

function compare(a: Settlement, b: Settlement): number {
  return a.partition - b.partition || a.first - b.first;
}
