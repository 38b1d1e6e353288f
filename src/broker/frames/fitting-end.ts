import type { ReadRun } from '../../core/types.js';

type Run = Pick<ReadRun, 'firstOffset' | 'count' | 'ends' | 'isTargetedElsewhere'>;

/**
 * One past the last message of these runs that fits into a frame of about `maxBytes` from `offset` on. Infinity if
 * all of them take less than twice as much: a frame that ends with a whole record is preferred. At least one
 * message always fits.
 */
export function fittingEnd(runs: readonly Run[], offset: number, maxBytes: number): number {
  let bytes = 0;
  for (const run of runs) bytes += bytesFrom(run, offset);
  if (bytes <= 2 * maxBytes) return Number.POSITIVE_INFINITY;
  let left = maxBytes;
  for (const run of runs) {
    const taken = bytesFrom(run, offset);
    if (taken <= left) {
      left -= taken;
      continue;
    }
    const from = Math.max(0, offset - run.firstOffset);
    const fitting = countWithin(run.ends, endBefore(run.ends, from) + left);
    const isFirst = left === maxBytes;
    return run.firstOffset + (isFirst ? Math.max(from + 1, fitting) : fitting);
  }
  return Number.POSITIVE_INFINITY;
}

function bytesFrom({ firstOffset, count, ends, isTargetedElsewhere }: Run, offset: number): number {
  const from = Math.max(0, offset - firstOffset);
  if (isTargetedElsewhere === true || from >= count) return 0;
  return ends[count - 1]! - endBefore(ends, from);
}

function endBefore(ends: Uint32Array, index: number): number {
  return index === 0 ? 0 : ends[index - 1]!;
}

/** How many of the first messages end at or before `end`. */
function countWithin(ends: Uint32Array, end: number): number {
  let low = 0;
  let high = ends.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ends[middle]! <= end) low = middle + 1;
    else high = middle;
  }
  return low;
}
