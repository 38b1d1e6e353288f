import type { LogRecord } from '../codec/record.js';
import type { Engine } from '../engine/engine.js';
import { findRecord, nextReadable } from './find-record.js';
import type { PartitionLog } from './partition-log.js';
import type { ReadSlots } from './read-slots.js';

/** Finds positions in logs by time and by bytes. Skips damaged records. */
export class LogPositions {
  readonly #engine: Engine;
  readonly #slots: ReadSlots;

  constructor(engine: Engine, slots: ReadSlots) {
    this.#engine = engine;
    this.#slots = slots;
  }

  /**
   * The first offset accepted at or after a time; the end offset if there is none. If the wall clock was set back,
   * offsets before that step count as no later than the ones behind it: publish times are ordered only between two
   * steps.
   */
  offsetAt(log: PartitionLog, timeMs: number): Promise<number> {
    return this.#slots.run(async () => {
      const { firstOffset, endOffset } = log;
      const steps = log.clockSteps.filter((offset) => firstOffset < offset && offset < endOffset);
      const starts = [firstOffset, ...steps];
      let found = endOffset;
      for (let index = starts.length - 1; index >= 0; index--) {
        const start = starts[index]!;
        const end = starts[index + 1] ?? endOffset;
        const isLate = ({ publishTimeMs }: LogRecord): boolean => publishTimeMs >= timeMs;
        const record = await findRecord(this.#engine, log, isLate, start, end);
        if (record === undefined) break;
        found = Math.max(record.firstOffset, firstOffset);
        // Everything from the step on is late enough. Offsets before it may be, too.
        if (record.firstOffset > start) break;
      }
      return found;
    });
  }

  /** The lowest offset from which at most this many bytes of messages are kept. */
  offsetOfNewest(log: PartitionLog, bytes: number): Promise<number> {
    return this.#slots.run(async () => {
      const { firstOffset, endOffset, endPosition } = log;
      const isNew = ({ position }: LogRecord): boolean => endPosition - position <= bytes;
      const record = await findRecord(this.#engine, log, isNew);
      const next = record?.firstOffset ?? endOffset;
      if (next <= firstOffset) return firstOffset;
      // The limit is inside the record before, unless that one is damaged: its newest messages are kept too.
      const straddling = await nextReadable(this.#engine, log, next - 1, next);
      return straddling === undefined
        ? next
        : Math.max(firstOffset, firstFrom(straddling, endPosition - bytes));
    });
  }

  /** Bytes of the partition before the record that contains the offset. */
  async positionOf(log: PartitionLog, offset: number): Promise<number> {
    const { endOffset, endPosition } = log;
    if (offset >= endOffset) return endPosition;
    const record = await this.#slots.run(() => nextReadable(this.#engine, log, offset, endOffset));
    return record?.position ?? endPosition;
  }
}

/** The first message of a record that begins at or after a position; one past the last if there is none. */
function firstFrom({ position, runs, lastOffset }: LogRecord, fromPosition: number): number {
  let start = position;
  for (const { firstOffset, count, ends, messages } of runs) {
    for (let i = 0; i < count; i++) {
      if (start + (i === 0 ? 0 : ends[i - 1]!) >= fromPosition) return firstOffset + i;
    }
    start += messages.length;
  }
  return lastOffset + 1;
}
