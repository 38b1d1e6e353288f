import type { CursorState } from '../../base/positions.js';
import type { Extent } from '../codec/extent.js';
import type { Engine } from '../engine/engine.js';
import { type DamagedCursor, readCursors } from '../log/cursor-reads.js';
import type { CatalogSubscription, CatalogTopic } from '../types.js';
import { endOfCursor, type KnownEnds } from './known-ends.js';

export interface LostCursors {
  /** One line, for people, for each cursor that can't be read. */
  readonly faults: readonly string[];
  /** For a start that accepts the loss: the states from which these subscriptions continue. */
  readonly replacements: readonly {
    readonly subscriptionId: number;
    readonly partition: number;
    readonly state: CursorState;
  }[];
}

type Extents = ReadonlyMap<number, ReadonlyMap<number, Extent>>;

/** A cursor that can't be read. */
export interface SuspectCursor {
  readonly subscription: CatalogSubscription;
  readonly topic: CatalogTopic;
  readonly partition: number;
  readonly read: DamagedCursor;
}

/** Reads every cursor. Raises the ends of their partitions, and returns the cursors that can't be read. */
export async function findSuspectCursors(
  engine: Engine,
  topics: ReadonlyMap<number, CatalogTopic>,
  subscriptions: readonly CatalogSubscription[],
  ends: KnownEnds,
): Promise<SuspectCursor[]> {
  const suspects: SuspectCursor[] = [];
  for (const subscription of subscriptions) {
    const { subscriptionId, topicId } = subscription;
    const topic = topics.get(topicId);
    if (topic === undefined) continue;
    const reads = await readCursors(engine, subscriptionId, topic.config.partitionCount);
    for (const [partition, read] of reads.entries()) {
      if (read.kind === 'damaged') suspects.push({ subscription, topic, partition, read });
      const state = read.kind === 'damaged' ? read.inBlock : read.state;
      if (state !== undefined) ends.raise(topicId, partition, endOfCursor(state));
    }
  }
  return suspects;
}

/**
 * A cursor that can't be read may have been at any offset. A start that accepts the loss continues from an earlier one, so
 * that messages are delivered again rather than lost: from the last known state, or from the first message of the
 * partition. `extents` contains those that were rebuilt.
 */
export function replaceSuspectCursors(suspects: readonly SuspectCursor[], extents: Extents): LostCursors {
  const faults: string[] = [];
  const replacements: LostCursors['replacements'][number][] = [];
  for (const { subscription, topic, partition, read } of suspects) {
    const { subscriptionId, topicId, config } = subscription;
    const extent = extents.get(topicId)?.get(partition);
    const what = `the cursor of subscription "${config.name}" in partition ${partition} of topic "${topic.config.name}"`;
    const whole = read.inBlock ?? cursorAt(extent?.firstOffset ?? 0);
    const state = extent === undefined ? whole : cursorUpTo(whole, extent.endOffset);
    replacements.push({ subscriptionId, partition, state });
    faults.push(
      `${what} is damaged (${read.why}): without it, messages from offset ${state.acknowledgedOffset} on are delivered again`,
    );
  }
  return { faults, replacements };
}

function cursorAt(acknowledgedOffset: number): CursorState {
  return { acknowledgedOffset, settled: [], failed: [], deadLetterCount: 0 };
}

/** The state without what it says about messages at or behind `endOffset`. */
function cursorUpTo(state: CursorState, endOffset: number): CursorState {
  if (endOfCursor(state) <= endOffset) return state;
  return {
    ...state,
    acknowledgedOffset: Math.min(state.acknowledgedOffset, endOffset),
    settled: state.settled
      .filter(({ first }) => first < endOffset)
      .map(({ first, last }) => ({ first, last: Math.min(last, endOffset - 1) })),
    failed: state.failed.filter(({ offset }) => offset < endOffset),
  };
}
