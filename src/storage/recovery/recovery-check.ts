import { cursorsColumn, producersColumn } from '../engine/columns.js';
import { type Engine, engineFault, engineMessage, type KeyRange } from '../engine/engine.js';
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
    known: knownSubscriptionIds,
    isKnown: (id) => knownSubscriptionIds.has(id) || deletedSubscriptionIds.has(id),
    rangeOf: subscriptionRange,
  });
  const producers = await findOrphans(engine, producersColumn, {
    owner: 'topic',
    records: 'producers',
    known: topics.keys(),
    isKnown: (id) => topics.has(id) || deletedTopicIds.has(id),
    rangeOf: producerRange,
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
  readonly known: Iterable<number>;
  readonly isKnown: (id: number) => boolean;
  /** The keys that may belong to this owner. */
  readonly rangeOf: (id: number) => KeyRange;
}

/** A block that can't be read rarely contains records of more owners. */
const mostUnreadableOwners = 10_000;

/**
 * Reads one record of each owner. Each key of the column begins with the id of its owner. Where RocksDB can't read a block,
 * continues at the next known owner: its records are checked one by one, cursors when the store is opened, producers and
 * notes when they are asked for.
 */
async function findOrphans(engine: Engine, column: number, owners: Owners): Promise<Orphans> {
  const orphans: Orphans = { faults: [], ids: [], isReadable: true };
  const behind = ownersBehind(owners);
  let from: Buffer | undefined = everything.gte;
  for (let failureCount = 0; from !== undefined; failureCount++) {
    const { failedAt, error }: ScanEnd = await scanOwners(engine, column, from, owners, orphans);
    if (failedAt === undefined) break;
    orphans.isReadable = false;
    if (failureCount === mostUnreadableOwners) {
      orphans.faults.push(`the ${owners.records} can't be read to their end: ${engineMessage(error)}`);
      break;
    }
    from = behind(failedAt);
  }
  return orphans;
}

interface Orphans {
  readonly faults: string[];
  readonly ids: number[];
  isReadable: boolean;
}

/** Without `failedAt`, the scan has reached the end of the column. */
type ScanEnd = { readonly failedAt?: Buffer; readonly error?: unknown };

async function scanOwners(
  engine: Engine,
  column: number,
  from: Buffer,
  { owner, records, isKnown, rangeOf }: Owners,
  orphans: Orphans,
): Promise<ScanEnd> {
  let at = from;
  const scan = engine.scan(column, { ...everything, gte: from }, { hasValues: false, batchBytes: 1 });
  try {
    for (;;) {
      const [entry] = await scan.next(1);
      if (entry === undefined) return {};
      const id = entry[0].readUInt32BE(0);
      if (!isKnown(id)) {
        orphans.ids.push(id);
        orphans.faults.push(`the ${owner} of id ${id} is missing: there are ${records} of it`);
      }
      at = rangeOf(id).lt;
      scan.seek(at);
    }
  } catch (error) {
    if (engineFault(error) !== 'corruption') throw error;
    return { failedAt: at, error };
  } finally {
    await scan.close();
  }
}

/** Finds the first key of the next known owner behind a key. The keys must ascend from call to call. */
function ownersBehind({ known, rangeOf }: Owners): (key: Buffer) => Buffer | undefined {
  let ids: number[] | undefined;
  let index = 0;
  return (key) => {
    ids ??= [...known].sort((a, b) => a - b);
    for (; index < ids.length; index++) {
      const first = rangeOf(ids[index]!).gte;
      if (Buffer.compare(first, key) > 0) return first;
    }
    return undefined;
  };
}
