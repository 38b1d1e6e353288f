import type { SettledBefore, Settlement } from '../../core/types.js';

/**
 * What the last cumulative acknowledgement of a partition was compared with: `first` up to but not including
 * `end`.
 */
interface Compared {
  readonly first: number;
  readonly end: number;
}

/**
 * The cumulative acknowledgements (from offset 0 on) of one session. Each one repeats the ones before it, so only
 * the offsets that it adds are compared with the dead letters. The first one adds the offsets that were not
 * acknowledged when the session began.
 */
export class CumulativeAcks {
  readonly #compared: Compared[];

  /** `acknowledgedOffsets`: by partition, when the session begins. */
  constructor(acknowledgedOffsets: readonly number[]) {
    this.#compared = acknowledgedOffsets.map((offset) => ({ first: 0, end: offset }));
  }

  /**
   * Removes from `settledBefore` the offsets that cumulative acknowledgements among these settlements only repeat.
   */
  withoutRepeated(
    settlements: readonly Settlement[],
    settledBefore: readonly SettledBefore[],
    endOffset: (partition: number) => number,
  ): readonly SettledBefore[] {
    const firsts = new Map<number, number>();
    for (const { partition, first, last, outcome } of settlements) {
      if (outcome.kind !== 'ack' || first !== 0) continue;
      const added = this.#firstAdded(partition, Math.min(last + 1, endOffset(partition)));
      firsts.set(partition, Math.min(added, firsts.get(partition) ?? added));
    }
    if (firsts.size === 0) return settledBefore;
    return settledBefore.flatMap((each) => {
      const first =
        each.outcome === 'ack' ? Math.max(each.first, firsts.get(each.partition) ?? 0) : each.first;
      return first > each.last ? [] : [{ ...each, first }];
    });
  }

  /**
   * The first offset that an acknowledgement of everything below `end` adds. A repeated acknowledgement adds the
   * same offsets again.
   */
  #firstAdded(partition: number, end: number): number {
    const compared = this.#compared[partition] ?? { first: 0, end: 0 };
    if (end === compared.end) return compared.first;
    // It ends below an earlier one: it concerns single messages, or follows a seek.
    if (end < compared.end) return 0;
    this.#compared[partition] = { first: compared.end, end };
    return compared.end;
  }
}
