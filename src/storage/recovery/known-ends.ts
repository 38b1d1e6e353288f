import type { CursorState } from '../../base/positions.js';
import { DamagedRecord } from '../codec/record.js';
import { decodeRedrive } from '../codec/redrive.js';
import { unseal } from '../codec/sealed-value.js';
import { cursorsColumn } from '../engine/columns.js';
import { type Engine, engineFault } from '../engine/engine.js';
import { everything, placeOfNote } from '../engine/keys.js';
import type { CatalogSubscription } from '../types.js';
import type { SyncedOffset } from './synced-offsets.js';

/** The lowest end of each partition that agrees with cursors, notes and the file of synced offsets. */
export class KnownEnds {
  readonly #ends = new Map<number, Map<number, number>>();

  /** Zero if nothing is known. */
  of(topicId: number, partition: number): number {
    return this.#ends.get(topicId)?.get(partition) ?? 0;
  }

  raise(topicId: number, partition: number, endOffset: number): void {
    if (endOffset <= this.of(topicId, partition)) return;
    const ofTopic = this.#ends.get(topicId) ?? new Map<number, number>();
    this.#ends.set(topicId, ofTopic.set(partition, endOffset));
  }
}

/** A partition of this cursor ends here or later. */
export function endOfCursor({ acknowledgedOffset, settled, failed }: CursorState): number {
  let end = acknowledgedOffset;
  for (const { last } of settled) end = Math.max(end, last + 1);
  for (const { offset } of failed) end = Math.max(end, offset + 1);
  return end;
}

/**
 * Raises the ends by the notes of dead letters and redrives, and by the synced offsets. Returns whether all notes could be
 * read. Reads all notes: only for a store that has lost an extent.
 */
export async function raiseByNotes(
  engine: Engine,
  subscriptions: readonly CatalogSubscription[],
  synced: readonly SyncedOffset[],
  ends: KnownEnds,
): Promise<boolean> {
  for (const { topicId, partition, endOffset } of synced) ends.raise(topicId, partition, endOffset);
  const topicIds = new Map(subscriptions.map(({ subscriptionId, topicId }) => [subscriptionId, topicId]));
  const scan = engine.scan(cursorsColumn, everything);
  try {
    for (;;) {
      const entries = await scan.next(1_000);
      if (entries.length === 0) return true;
      for (const [key, sealed] of entries) raiseByNote(key, sealed, topicIds, ends);
    }
  } catch (error) {
    if (!(error instanceof DamagedRecord) && engineFault(error) !== 'corruption') throw error;
    return false;
  } finally {
    await scan.close();
  }
}

function raiseByNote(
  key: Buffer,
  sealed: Buffer,
  topicIds: ReadonlyMap<number, number>,
  ends: KnownEnds,
): void {
  const place = placeOfNote(key);
  if (place?.kind === 'dead-letter') {
    const topicId = topicIds.get(place.subscriptionId);
    // The note of a lost subscription, which counts as deleted.
    if (topicId !== undefined) ends.raise(topicId, place.partition, place.offset + 1);
  } else if (place?.kind === 'redrive') {
    ends.raise(place.deadLetterTopicId, place.partition, decodeRedrive(unseal(key, sealed)));
  }
}
