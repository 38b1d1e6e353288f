import { endOnDefect } from '../base/invariant.js';
import { limits } from '../base/limits.js';
import type { Logger } from '../base/logger.js';
import type { SubscriptionConfig } from '../base/model.js';
import { mergedIntervals } from '../core/intervals.js';
import type { PartitionInterval, SettledBefore } from '../core/types.js';
import type { Storage } from '../storage/types.js';

interface Services {
  readonly storage: Storage;
  readonly logger: Logger;
}

interface Subscription {
  readonly subscriptionId: number;
  readonly config: SubscriptionConfig;
}

/**
 * What of these settlements contradicts an earlier outcome of the same message, by the notes of the dead letters:
 * acknowledged what was dead-lettered, or nacked or dead-lettered what was acknowledged. What the settlements changed
 * is durable by then: a note that can't be read must not turn that into an error.
 */
export async function contradictions(
  { storage, logger }: Services,
  { subscriptionId, config }: Subscription,
  settledBefore: readonly SettledBefore[],
): Promise<readonly PartitionInterval[]> {
  try {
    return await find(storage, subscriptionId, settledBefore);
  } catch (error) {
    endOnDefect(error);
    const context = { error, topic: config.topic, subscription: config.name };
    logger.warn(context, 'settlements could not be compared with the dead letters of their subscription');
    return [];
  }
}

/**
 * One scan for each partition. It looks at a limited number of notes: what lies behind them is taken to be no
 * contradiction.
 */
async function find(
  storage: Storage,
  subscriptionId: number,
  settledBefore: readonly SettledBefore[],
): Promise<PartitionInterval[]> {
  const found: PartitionInterval[] = [];
  for (const partition of new Set(settledBefore.map((each) => each.partition))) {
    const asked = settledBefore.filter((each) => each.partition === partition);
    const first = asked.reduce((lowest, each) => Math.min(lowest, each.first), Number.POSITIVE_INFINITY);
    const last = asked.reduce((highest, each) => Math.max(highest, each.last), 0);
    const limit = limits.deadLetterNotesPerSettlement;
    const offsets = await storage.readDeadLetterOffsets(subscriptionId, partition, first, last, limit);
    const seenLast = offsets.length === limit ? offsets.at(-1)! : last;
    const deadLettered = mergedIntervals(
      offsets.map((offset) => ({ partition, first: offset, last: offset })),
    );
    for (const { first: from, last: to, outcome } of asked) {
      const inRange = clipped(deadLettered, from, Math.min(to, seenLast));
      if (outcome === 'ack') found.push(...inRange);
      else found.push(...gaps(inRange, partition, from, Math.min(to, seenLast)));
    }
  }
  return found;
}

function clipped(intervals: readonly PartitionInterval[], first: number, last: number): PartitionInterval[] {
  return intervals
    .filter((each) => each.last >= first && each.first <= last)
    .map((each) => ({ ...each, first: Math.max(first, each.first), last: Math.min(last, each.last) }));
}

/** What lies from `first` to `last` between these intervals. */
function gaps(
  intervals: readonly PartitionInterval[],
  partition: number,
  first: number,
  last: number,
): PartitionInterval[] {
  const between: PartitionInterval[] = [];
  let next = first;
  for (const each of intervals) {
    if (each.first > next) between.push({ partition, first: next, last: each.first - 1 });
    next = each.last + 1;
  }
  if (next <= last) between.push({ partition, first: next, last });
  return between;
}
