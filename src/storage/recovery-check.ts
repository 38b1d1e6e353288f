import { cursorsColumn, producersColumn } from './columns.js';
import { type Engine, engineFault, engineMessage } from './engine.js';
import { everything, producerRange, subscriptionRange } from './keys.js';
import type { Recovered } from './recovery.js';

/**
 * Records that belong together, checked against each other at opening. A record whose owner is missing says that the
 * owner was lost: a subscription, an extent or a producer without its topic, a cursor or a note without its
 * subscription, an id that the counters never gave out. Lines for people.
 */
export async function findContradictions(
  engine: Engine,
  recovered: Omit<Recovered, 'faults'>,
): Promise<string[]> {
  const { topics, subscriptions, extents, deletedTopicIds, deletedSubscriptionIds } = recovered;
  const faults: string[] = [];
  for (const [topicId, { config }] of topics) {
    if (topicId >= recovered.nextTopicId) {
      faults.push(`topic "${config.name}" has the id ${topicId}, which was never given out`);
    }
  }
  for (const { subscriptionId, topicId, config } of subscriptions) {
    if (!topics.has(topicId)) {
      faults.push(`the topic of subscription "${config.name}" is missing: it has the id ${topicId}`);
    }
    if (subscriptionId >= recovered.nextSubscriptionId) {
      faults.push(`subscription "${config.name}" has the id ${subscriptionId}, which was never given out`);
    }
  }
  for (const [topicId, partitions] of extents) {
    const partitionCount = topics.get(topicId)?.config.partitionCount;
    for (const [partition, { firstOffset, endOffset }] of partitions) {
      const messages = `with offsets ${firstOffset} to ${endOffset - 1} of partition ${partition}`;
      if (partitionCount === undefined) faults.push(`the topic of id ${topicId} is missing, ${messages}`);
      else if (partition >= partitionCount) {
        faults.push(`topic ${topicId} has ${partitionCount} partitions, and an extent ${messages}`);
      }
    }
  }
  const subscriptionIds = new Set(subscriptions.map(({ subscriptionId }) => subscriptionId));
  const orphans = [
    ...(await findOrphans(engine, cursorsColumn, {
      owner: 'subscription',
      records: 'cursors or notes',
      isKnown: (id) => subscriptionIds.has(id) || deletedSubscriptionIds.has(id),
      behind: (id) => subscriptionRange(id).lt,
    })),
    ...(await findOrphans(engine, producersColumn, {
      owner: 'topic',
      records: 'producers',
      isKnown: (id) => topics.has(id) || deletedTopicIds.has(id),
      behind: (id) => producerRange(id).lt,
    })),
  ];
  return [...faults, ...orphans];
}

interface Owners {
  readonly owner: string;
  readonly records: string;
  readonly isKnown: (id: number) => boolean;
  /** The first key that may belong to a later owner. */
  readonly behind: (id: number) => Buffer;
}

/** Looks at one record of each owner, whose id begins each key of the column. */
async function findOrphans(
  engine: Engine,
  column: number,
  { owner, records, isKnown, behind }: Owners,
): Promise<string[]> {
  const faults: string[] = [];
  const scan = engine.scan(column, everything, { hasValues: false, batchBytes: 1 });
  try {
    for (;;) {
      const [entry] = await scan.next(1);
      if (entry === undefined) return faults;
      const id = entry[0].readUInt32BE(0);
      if (!isKnown(id)) faults.push(`the ${owner} of id ${id} is missing: there are ${records} of it`);
      scan.seek(behind(id));
    }
  } catch (error) {
    if (engineFault(error) !== 'corruption') throw error;
    return [...faults, `the ${records} can't be read to their end: ${engineMessage(error)}`];
  } finally {
    await scan.close();
  }
}
