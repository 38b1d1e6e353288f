import { endOnDefect } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import type { SubscriptionConfig } from '../../base/model.js';
import { mergedIntervals } from '../../core/intervals.js';
import type { PartitionInterval, SettledBefore } from '../../core/types.js';
import type { Storage } from '../../storage/types.js';

interface Services {
  readonly storage: Storage;
  readonly logger: Logger;
}

interface Subscription {
  readonly subscriptionId: number;
  readonly config: SubscriptionConfig;
}

/**
 * Settlements that contradict an earlier outcome of the same message, according to the dead-letter notes: a
 * message was dead-lettered and is acknowledged now, or was acknowledged and is nacked or dead-lettered now. The
 * changes of these settlements are already durable, so a note that can't be read must not turn them into an error.
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
 * Scans each partition once. The number of notes is limited: messages behind the last note count as no
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
    const acked = asked.filter(({ outcome }) => outcome === 'ack');
    const failed = asked.filter(({ outcome }) => outcome !== 'ack');
    found.push(...split(acked, offsets, seenLast).noted);
    found.push(...split(failed, offsets, seenLast).others);
  }
  return found;
}

/**
 * Splits what is asked for in one partition, up to `seenLast`, into messages with a note and messages without one.
 * Both lists are ordered, so each is read once.
 */
function split(
  asked: readonly PartitionInterval[],
  notes: readonly number[],
  seenLast: number,
): { readonly noted: PartitionInterval[]; readonly others: PartitionInterval[] } {
  const noted: PartitionInterval[] = [];
  const others: PartitionInterval[] = [];
  let n = 0;
  for (const { partition, first, last } of mergedIntervals(asked)) {
    const end = Math.min(last, seenLast);
    let next = first;
    while (n < notes.length && notes[n]! < first) n += 1;
    for (; n < notes.length && notes[n]! <= end; n += 1) {
      const offset = notes[n]!;
      if (offset > next) others.push({ partition, first: next, last: offset - 1 });
      noted.push({ partition, first: offset, last: offset });
      next = offset + 1;
    }
    if (next <= end) others.push({ partition, first: next, last: end });
  }
  return { noted, others };
}
