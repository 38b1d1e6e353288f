import { encodeCounters } from '../codec/counters.js';
import { encodeCursor } from '../codec/cursor.js';
import { encodeExtent } from '../codec/extent.js';
import { seal } from '../codec/sealed-value.js';
import { cursorsColumn, metadataColumn, partitionColumn } from '../engine/columns.js';
import type { Engine } from '../engine/engine.js';
import { countersKey, cursorKey, extentKey, logRange, metadataKey, metadataKind } from '../engine/keys.js';
import type { LostCursors } from './lost-cursors.js';
import { type LostExtents, withExtents } from './lost-extents.js';
import type { Recovered } from './recovered.js';

/**
 * Removes lost metadata, so that the next start does not find the same losses again: a lost topic or subscription
 * counts as deleted, with everything that belongs to it. Returns the remaining metadata. If RocksDB could not read
 * everything, writes only cursors and rebuilt extents: a cursor that was replaced must not be replaced again after it has
 * moved, and a partition without its extent would assign its offsets again.
 */
export async function acceptLoss(engine: Engine, found: Recovered): Promise<Recovered> {
  const { lost } = found;
  replaceCursors(engine, lost.cursors);
  replaceExtents(engine, lost.extents);
  const recovered = { ...found, extents: withExtents(found.extents, lost.extents) };
  if (recovered.faults.length === 0 || !lost.isReadable) return recovered;
  const lostSubscriptionIds = new Set(lost.subscriptionIds);
  const batch = engine.batch();
  const put = (key: Buffer, value: Uint8Array) => batch.put(metadataColumn, key, seal(key, value));
  const rebuiltKeys = lost.extents.map(({ topicId, partition }) => extentKey(topicId, partition));
  for (const key of lost.damagedKeys) {
    if (!rebuiltKeys.some((rebuilt) => rebuilt.equals(key))) batch.delete(metadataColumn, key);
  }
  put(countersKey, encodeCounters(recovered));
  for (const id of lost.topicIds) {
    put(metadataKey(metadataKind.deletedTopic, id), Buffer.alloc(0));
    for (const partition of recovered.extents.get(id)?.keys() ?? []) {
      batch.delete(metadataColumn, extentKey(id, partition));
    }
  }
  for (const id of lostSubscriptionIds) {
    batch.delete(metadataColumn, metadataKey(metadataKind.subscription, id));
    put(metadataKey(metadataKind.deletedSubscription, id), Buffer.alloc(0));
  }
  for (const { topicId, partition } of lost.surplusExtents) {
    batch.delete(metadataColumn, extentKey(topicId, partition));
  }
  batch.write(true);
  for (const { topicId, partition } of lost.surplusExtents) {
    await engine.clear(partitionColumn(partition), logRange(topicId, 0));
  }
  return {
    ...recovered,
    deletedTopicIds: new Set([...recovered.deletedTopicIds, ...lost.topicIds]),
    deletedSubscriptionIds: new Set([...recovered.deletedSubscriptionIds, ...lostSubscriptionIds]),
  };
}

function replaceExtents(engine: Engine, rebuilt: LostExtents['found']): void {
  if (rebuilt.length === 0) return;
  const batch = engine.batch();
  for (const { topicId, partition, extent } of rebuilt) {
    const key = extentKey(topicId, partition);
    batch.put(metadataColumn, key, seal(key, encodeExtent(extent)));
  }
  batch.write(true);
}

/** The new records hide the damaged ones from reads by key, also where the engine refuses their block. */
function replaceCursors(engine: Engine, replacements: LostCursors['replacements']): void {
  if (replacements.length === 0) return;
  const batch = engine.batch();
  for (const { subscriptionId, partition, state } of replacements) {
    const key = cursorKey(subscriptionId, partition);
    batch.put(cursorsColumn, key, seal(key, encodeCursor(state)));
  }
  batch.write(true);
}
