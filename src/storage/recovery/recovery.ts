import { decodeCounters } from '../codec/counters.js';
import { decodeExtent, type Extent } from '../codec/extent.js';
import { DamagedRecord } from '../codec/record.js';
import { unseal } from '../codec/sealed-value.js';
import { decodeSubscription } from '../codec/subscription.js';
import { decodeTopic } from '../codec/topic.js';
import { cursorsColumn, metadataColumn, partitionColumn, producersColumn } from '../engine/columns.js';
import { type Engine, engineFault, engineMessage } from '../engine/engine.js';
import {
  extentKey,
  idOfMetadataKey,
  logRange,
  type MetadataKind,
  metadataKind,
  metadataRange,
  partitionOfExtentKey,
  producerRange,
  subscriptionRange,
} from '../engine/keys.js';
import { undamaged } from '../log/undamaged.js';
import type { CatalogTopic } from '../types.js';
import { KnownEnds, raiseByNotes } from './known-ends.js';
import { findSuspectCursors, replaceSuspectCursors } from './lost-cursors.js';
import { findLostExtents, withExtents } from './lost-extents.js';
import type { Recovered } from './recovered.js';
import { findContradictions } from './recovery-check.js';
import type { SyncedOffset } from './synced-offsets.js';

const entriesAtOnce = 10_000;

const nameOfKind: Readonly<Record<MetadataKind, string>> = {
  [metadataKind.counters]: 'the counters of ids',
  [metadataKind.topic]: 'the topic of id',
  [metadataKind.subscription]: 'the subscription of id',
  [metadataKind.extent]: 'the extent of a partition of topic',
  [metadataKind.deletedTopic]: 'the deletion of topic',
  [metadataKind.deletedSubscription]: 'the deletion of subscription',
  [metadataKind.store]: 'the identity of the store',
  [metadataKind.migration]: 'the progress of a migration',
};

/** Reads everything again if the disk fails once. Rejects with READ_FAILED if it fails again. Damage is a result. */
export function recover(engine: Engine, readSyncedOffsets: ReadSyncedOffsets): Promise<Recovered> {
  return undamaged('the catalog of the store', () => recoverOnce(engine, readSyncedOffsets));
}

/** Reads the file of synced offsets, for a store that has lost an extent. Empty if there is no whole file. */
type ReadSyncedOffsets = () => Promise<readonly SyncedOffset[]>;

async function recoverOnce(engine: Engine, readSyncedOffsets: ReadSyncedOffsets): Promise<Recovered> {
  const topics = new Map<number, CatalogTopic>();
  const subscriptionRecords: Buffer[] = [];
  const extents = new Map<number, Map<number, Extent>>();
  const deletedTopicIds = new Set<number>();
  const deletedSubscriptionIds = new Set<number>();
  const faults: string[] = [];
  let counters: { nextTopicId: number; nextSubscriptionId: number } | undefined;
  let lastPublishTimeMs = 0;
  let isReadable = true;
  const damagedKeys: Buffer[] = [];

  const take: Record<MetadataKind, (key: Buffer, value: Buffer) => void> = {
    [metadataKind.counters]: (_, value) => {
      counters = decodeCounters(value);
    },
    [metadataKind.topic]: (key, value) => topics.set(idOfMetadataKey(key), decodeTopic(value)),
    [metadataKind.subscription]: (_, value) => subscriptionRecords.push(value),
    [metadataKind.extent]: (key, value) => {
      const extent = decodeExtent(value);
      const ofTopic = extents.get(idOfMetadataKey(key)) ?? new Map<number, Extent>();
      extents.set(idOfMetadataKey(key), ofTopic.set(partitionOfExtentKey(key), extent));
      lastPublishTimeMs = Math.max(lastPublishTimeMs, extent.lastPublishTimeMs);
    },
    [metadataKind.deletedTopic]: (key) => deletedTopicIds.add(idOfMetadataKey(key)),
    [metadataKind.deletedSubscription]: (key) => deletedSubscriptionIds.add(idOfMetadataKey(key)),
    [metadataKind.store]: () => {},
    [metadataKind.migration]: () => {},
  };

  const takeChecked = (key: Buffer, sealed: Buffer): void => {
    try {
      const value = unseal(key, sealed);
      const takeKind = take[key[0] as MetadataKind] as (typeof take)[MetadataKind] | undefined;
      if (takeKind === undefined) throw new DamagedRecord('this version does not know it');
      takeKind(key, value);
    } catch (error) {
      if (!(error instanceof DamagedRecord)) throw error;
      damagedKeys.push(key);
      faults.push(`${describeMetadataKey(key)} is damaged: ${engineMessage(error)}`);
    }
  };

  const scan = engine.scan(metadataColumn, metadataRange);
  try {
    for (;;) {
      const entries = await scan.next(entriesAtOnce);
      if (entries.length === 0) break;
      for (const [key, value] of entries) takeChecked(key, value);
    }
  } catch (error) {
    // After an error the scan ends: the records behind it are missing here, and will be reported.
    if (engineFault(error) !== 'corruption') throw error;
    isReadable = false;
    faults.push(`the catalog can't be read to its end: ${engineMessage(error)}`);
  } finally {
    await scan.close();
  }
  const topicName = (topicId: number): string => topics.get(topicId)?.config.name ?? '';
  const recovered = {
    topics,
    subscriptions: subscriptionRecords.map((record) => decodeSubscription(record, topicName)),
    nextTopicId: counters?.nextTopicId ?? 1,
    nextSubscriptionId: counters?.nextSubscriptionId ?? 1,
    extents,
    lastPublishTimeMs,
    deletedTopicIds,
    deletedSubscriptionIds,
    faults,
  };
  const contradictions = await findContradictions(engine, recovered);
  const ends = new KnownEnds();
  const suspects = await findSuspectCursors(engine, topics, recovered.subscriptions, ends);
  const lostExtents = await findLostExtents(engine, topics, extents, {
    ends,
    isDamaged: (topicId, partition) => damagedKeys.some((key) => key.equals(extentKey(topicId, partition))),
    raiseByNotes: async () => raiseByNotes(engine, recovered.subscriptions, await readSyncedOffsets(), ends),
  });
  const lostCursors = replaceSuspectCursors(suspects, withExtents(extents, lostExtents.found));
  faults.push(...contradictions.faults, ...lostExtents.faults, ...lostCursors.faults);
  const lost = {
    ...contradictions,
    damagedKeys,
    extents: lostExtents.found,
    cursors: lostCursors.replacements,
    isReadable: isReadable && contradictions.isReadable,
    canBeAccepted: isReadable && lostExtents.areAllFound,
  };
  const gap = counters === undefined && faults.length > 0 ? lostCountersGap : 0;
  return {
    ...recovered,
    lost,
    // For a start that accepts the loss: drops records without their owner, and no id is given out twice.
    subscriptions: recovered.subscriptions.filter(({ topicId }) => topics.has(topicId)),
    nextTopicId:
      gap +
      nextId(recovered.nextTopicId, [
        topics.keys(),
        extents.keys(),
        deletedTopicIds,
        lost.topicIds,
        idsOf(damagedKeys, topicKinds),
      ]),
    nextSubscriptionId:
      gap +
      nextId(recovered.nextSubscriptionId, [
        recovered.subscriptions.map(({ subscriptionId }) => subscriptionId),
        deletedSubscriptionIds,
        lost.subscriptionIds,
        idsOf(damagedKeys, subscriptionKinds),
      ]),
  };
}

/**
 * Ids are left out when the counters are lost: topics and subscriptions that were deleted without a trace may have had
 * them, and notes of redrives may still name them.
 */
const lostCountersGap = 65_536;

/** The first id above every id that is in use. */
function nextId(noted: number, used: readonly Iterable<number>[]): number {
  let next = noted;
  for (const ids of used) for (const id of ids) next = Math.max(next, id + 1);
  return next;
}

const topicKinds: ReadonlySet<number> = new Set([
  metadataKind.topic,
  metadataKind.extent,
  metadataKind.deletedTopic,
]);
const subscriptionKinds: ReadonlySet<number> = new Set([
  metadataKind.subscription,
  metadataKind.deletedSubscription,
]);

/** The ids in the keys of these kinds. The key of a damaged record is whole. */
function idsOf(metadataKeys: readonly Buffer[], kinds: ReadonlySet<number>): number[] {
  return metadataKeys.filter((key) => key.length >= 5 && kinds.has(key[0]!)).map(idOfMetadataKey);
}

function describeMetadataKey(key: Buffer): string {
  const name = nameOfKind[key[0] as MetadataKind] ?? `a record of the unknown kind ${key[0]}`;
  return key.length >= 5 ? `${name} ${idOfMetadataKey(key)}` : name;
}

/** Finishes deletions that were committed before a crash. Cheap if there are none. */
export async function clearDeleted(
  engine: Engine,
  recovered: Recovered,
  maxPartitionCount: number,
): Promise<void> {
  for (const topicId of recovered.deletedTopicIds) {
    for (let partition = 0; partition < maxPartitionCount; partition++) {
      await engine.clear(partitionColumn(partition), logRange(topicId, 0));
    }
    await engine.clear(producersColumn, producerRange(topicId));
  }
  for (const id of recovered.deletedSubscriptionIds) await engine.clear(cursorsColumn, subscriptionRange(id));
}
