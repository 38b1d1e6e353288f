import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { StartPosition_Boundary, type StartPositionSchema } from '@sluice/client/api';
import { type Kind, ValueFault } from '../config/kinds.js';

export type StartPositionInit = MessageInitShape<typeof StartPositionSchema>;

const boundaries: Readonly<Record<string, StartPosition_Boundary>> = {
  earliest: StartPosition_Boundary.EARLIEST,
  latest: StartPosition_Boundary.LATEST,
};

/** `earliest`, `latest`, `offset:1200` or `time:2026-01-31T12:00:00Z`. */
export const startPosition: Kind<StartPositionInit> = {
  placeholder: '<position>',
  parse(text) {
    const boundary = boundaries[text];
    if (boundary !== undefined) return { position: { case: 'boundary', value: boundary } };
    const [, kind, content] = /^(offset|time):(.+)$/.exec(text) ?? [];
    if (kind === 'offset' && /^\d+$/.test(content!)) {
      return { position: { case: 'offset', value: BigInt(content!) } };
    }
    const timeMs = kind === 'time' ? Date.parse(content!) : Number.NaN;
    if (!Number.isNaN(timeMs)) return { position: { case: 'time', value: timestampFromMs(timeMs) } };
    throw new ValueFault('earliest, latest, offset:<n> or time:<ISO 8601>');
  },
  format: String,
};

export interface Range {
  readonly partition: number;
  readonly first: bigint;
  readonly last: bigint;
}

/** Ranges of offsets, merged where they touch. Cheap if they come in order, as they nearly always do. */
export class RangeSet {
  readonly #byPartition = new Map<number, { first: bigint; last: bigint }[]>();

  add(partition: number, first: bigint, last: bigint): void {
    const ranges = this.#byPartition.get(partition);
    const newest = ranges?.at(-1);
    if (newest !== undefined && newest.last + 1n === first) newest.last = last;
    else if (ranges !== undefined) ranges.push({ first, last });
    else this.#byPartition.set(partition, [{ first, last }]);
  }

  get isEmpty(): boolean {
    return this.#byPartition.size === 0;
  }

  /** All ranges, in order of partition and offset, merged. */
  toArray(): Range[] {
    const merged: { partition: number; first: bigint; last: bigint }[] = [];
    for (const [partition, ranges] of [...this.#byPartition].sort(([a], [b]) => a - b)) {
      for (const { first, last } of ranges.toSorted((a, b) => (a.first < b.first ? -1 : 1))) {
        const newest = merged.at(-1);
        if (newest?.partition === partition && first <= newest.last + 1n) {
          if (last > newest.last) newest.last = last;
        } else {
          merged.push({ partition, first, last });
        }
      }
    }
    return merged;
  }

  /** Like `toArray`. Afterwards the set is empty. */
  take(): Range[] {
    const ranges = this.toArray();
    this.#byPartition.clear();
    return ranges;
  }
}
