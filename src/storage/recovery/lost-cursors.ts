import type { CursorState } from '../../base/positions.js';
import type { Extent } from '../codec/extent.js';
import type { Engine } from '../engine/engine.js';
import { readCursors } from '../log/cursor-reads.js';
import type { CatalogSubscription, CatalogTopic } from '../types.js';

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

/**
 * Reads every cursor. A cursor that can't be read may have been at any offset. A start that accepts the loss continues
 * from an earlier one, so that messages are delivered again rather than lost: from the last known state, or from the
 * first message of the partition.
 */
export async function findLostCursors(
  engine: Engine,
  topics: ReadonlyMap<number, CatalogTopic>,
  subscriptions: readonly CatalogSubscription[],
  firstOffsetOf: (topicId: number, partition: number) => number,
): Promise<LostCursors> {
  const faults: string[] = [];
  const replacements: LostCursors['replacements'][number][] = [];
  for (const { subscriptionId, topicId, config } of subscriptions) {
    const topic = topics.get(topicId)?.config;
    if (topic === undefined) continue;
    const reads = await readCursors(engine, subscriptionId, topic.partitionCount);
    for (const [partition, read] of reads.entries()) {
      if (read.kind === 'read') continue;
      const state = read.inBlock ?? cursorAt(firstOffsetOf(topicId, partition));
      replacements.push({ subscriptionId, partition, state });
      faults.push(
        `the cursor of subscription "${config.name}" in partition ${partition} of topic "${topic.name}" is damaged ` +
          `(${read.why}): without it, messages from offset ${state.acknowledgedOffset} on are delivered again`,
      );
    }
  }
  return { faults, replacements };
}

function cursorAt(acknowledgedOffset: number): CursorState {
  return { acknowledgedOffset, settled: [], failed: [], deadLetterCount: 0 };
}

/** The first offset of each partition, according to extents and to extents that were rebuilt. */
export function firstOffsets(
  extents: ReadonlyMap<number, ReadonlyMap<number, Extent>>,
  rebuilt: readonly { readonly topicId: number; readonly partition: number; readonly extent: Extent }[],
): (topicId: number, partition: number) => number {
  return (topicId, partition) => {
    const found =
      extents.get(topicId)?.get(partition) ??
      rebuilt.find((each) => each.topicId === topicId && each.partition === partition)?.extent;
    return found?.firstOffset ?? 0;
  };
}
