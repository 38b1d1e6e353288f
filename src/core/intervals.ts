import type { Interval } from '../base/positions.js';
import type { PartitionInterval } from './types.js';

/** Appends an interval. Extends the last one if they touch. */
export function appendInterval(intervals: Interval[], first: number, last: number): void {
  const previous = intervals.at(-1);
  if (previous?.last === first - 1) intervals[intervals.length - 1] = { first: previous.first, last };
  else intervals.push({ first, last });
}

/** Joins ascending intervals that touch. */
export function touchingJoined(ascending: readonly Interval[]): readonly Interval[] {
  if (ascending.length < 2) return ascending;
  const joined: Interval[] = [];
  for (const { first, last } of ascending) appendInterval(joined, first, last);
  return joined;
}

/** The same offsets in order, each once. */
export function mergedIntervals(intervals: readonly PartitionInterval[]): readonly PartitionInterval[] {
  if (intervals.length < 2) return intervals;
  const merged: PartitionInterval[] = [];
  for (const interval of intervals.toSorted((a, b) => a.partition - b.partition || a.first - b.first)) {
    const previous = merged.at(-1);
    if (previous?.partition === interval.partition && interval.first <= previous.last + 1) {
      merged[merged.length - 1] = { ...previous, last: Math.max(previous.last, interval.last) };
    } else {
      merged.push(interval);
    }
  }
  return merged;
}
