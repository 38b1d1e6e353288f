import { cursorsColumn, producersColumn } from '../engine/columns.js';
import { type Engine, engineFault, engineMessage } from '../engine/engine.js';
import { everything, producerRange, subscriptionRange } from '../engine/keys.js';
import type { Contradictions, RecoveredRecords } from './recovered.js';

/**
 * Checks records that belong together against each other when the store is opened. A record without its owner
 * shows that the owner was lost: a subscription, an extent or a producer without its topic, a cursor or a note
 * without its subscription, an id above the counters.
 */
export async function findContradictions(
  engine: Engine,
  recovered: RecoveredRecords,
): Promise<Contradictions> {
  const { topics, subscriptions, deletedTopicIds, deletedSubscriptionIds } = recovered;
  const found: Findings = {
    faults: [],
    topicIds: new Set(),
    subscriptionIds: new Set(),
    surplusExtents: [],
  };
  checkTopics(recovered, found);
  checkSubscriptions(recovered, found);
  checkExtents(recovered, found);
  const knownSubscriptionIds = new Set(subscriptions.map(({ subscriptionId }) => subscriptionId));
  const cursors = await findOrphans(engine, cursorsColumn, {
    owner: 'subscription',
    records: 'cursors or notes',
    isKnown: (id) => knownSubscriptionIds.has(id) || deletedSubscriptionIds.has(id),
    behind: (id) => subscriptionRange(id).lt,
  });
  const producers = await findOrphans(engine, producersColumn, {
    owner: 'topic',
    records: 'producers',
    isKnown: (id) => topics.has(id) || deletedTopicIds.has(id),
    behind: (id) => producerRange(id).lt,
  });
  for (const id of cursors.ids) found.subscriptionIds.add(id);
  for (const id of producers.ids) found.topicIds.add(id);
  found.faults.push(...cursors.faults, ...producers.faults);
  return { ...found, isReadable: cursors.isReadable && producers.isReadable };
}

/** The contradictions that the checks have found so far. */
interface Findings {
  readonly faults: string[];
  readonly topicIds: Set<number>;
  readonly subscriptionIds: Set<number>;
  readonly surplusExtents: Contradictions['surplusExtents'][number][];
}

function checkTopics({ topics, nextTopicId }: RecoveredRecords, { faults }: Findings): void {
  for (const [topicId, { config }] of topics) {
    if (topicId >= nextTopicId) {
      faults.push(`topic "${config.name}" has the id ${topicId}, which was never given out`);
    }
  }
}

function checkSubscriptions(recovered: RecoveredRecords, found: Findings): void {
  const { topics, subscriptions, nextSubscriptionId } = recovered;
  for (const { subscriptionId, topicId, config } of subscriptions) {
    if (!topics.has(topicId)) {
      found.topicIds.add(topicId);
      found.subscriptionIds.add(subscriptionId);
      found.faults.push(`the topic of subscription "${config.name}" is missing: it has the id ${topicId}`);
    }
    if (subscriptionId >= nextSubscriptionId) {
      found.faults.push(
        `subscription "${config.name}" has the id ${subscriptionId}, which was never given out`,
      );
    }
  }
}

function checkExtents({ topics, extents }: RecoveredRecords, found: Findings): void {
  for (const [topicId, partitions] of extents) {
    const partitionCount = topics.get(topicId)?.config.partitionCount;
    for (const [partition, { firstOffset, endOffset }] of partitions) {
      const messages = `with offsets ${firstOffset} to ${endOffset - 1} of partition ${partition}`;
      if (partitionCount === undefined) {
        found.topicIds.add(topicId);
        found.faults.push(`the topic of id ${topicId} is missing, ${messages}`);
      } else if (partition >= partitionCount) {
        found.surplusExtents.push({ topicId, partition });
        found.faults.push(`topic ${topicId} has ${partitionCount} partitions, and an extent ${messages}`);
      }
    }
  }
}

interface Owners {
  readonly owner: string;
  readonly records: string;
  readonly isKnown: (id: number) => boolean;
  /** The first key that may belong to a later owner. */
  readonly behind: (id: number) => Buffer;
}

/** Reads one record of each owner. Each key of the column begins with the id of its owner. */
async function findOrphans(
  engine: Engine,
  column: number,
  { owner, records, isKnown, behind }: Owners,
): Promise<Pick<Contradictions, 'faults' | 'isReadable'> & { readonly ids: readonly number[] }> {
  const faults: string[] = [];
  const ids: number[] = [];
  const scan = engine.scan(column, everything, { hasValues: false, batchBytes: 1 });
  try {
    for (;;) {
      const [entry] = await scan.next(1);
      if (entry === undefined) return { faults, ids, isReadable: true };
      const id = entry[0].readUInt32BE(0);
      if (!isKnown(id)) {
        ids.push(id);
        faults.push(`the ${owner} of id ${id} is missing: there are ${records} of it`);
      }
      scan.seek(behind(id));
    }
  } catch (error) {
    if (engineFault(error) !== 'corruption') throw error;
    faults.push(`the ${records} can't be read to their end: ${engineMessage(error)}`);
    return { faults, ids, isReadable: false };
  } finally {
    await scan.close();
  }
}
