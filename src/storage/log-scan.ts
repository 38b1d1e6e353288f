import { endOnDefect } from '../base/invariant.js';
import { limits } from '../base/limits.js';
import { partitionColumn } from './columns.js';
import { type Engine, engineFault, type Scan } from './engine.js';
import { lastOffsetOfLogKey, logRange, logRangeUntil } from './keys.js';
import { checkReadable, dataLoss, readFailed } from './log-errors.js';
import type { PartitionLog } from './partition-log.js';
import { type Entries, readAroundDamage } from './read-around.js';
import { DamagedRecord, type LogRecord, readRecord } from './record.js';
import type { Run } from './run.js';

/**
 * Goes through the records of one partition on the disk, as they were when it was opened, and takes nothing on
 * trust: every record must be whole and follow the one before. Opening blocks for one seek.
 *
 * It ends at damage: `next` answers everything before it and then rejects, each time it is called. The damage is
 * remembered in the log, and what lies behind it is for a scan that begins there.
 */
export class LogScan {
  readonly #engine: Engine;
  readonly #log: PartitionLog;
  readonly #batchBytes: number;
  /** Undefined when there is nothing to read before known damage, or after an error. */
  #scan: Scan | undefined;
  /** At least this far the records must reach: they were committed before the scan was opened. */
  readonly #endOffset: number;
  #nextOffset: number;
  #isFirst = true;
  #isFinished = false;
  #failure: unknown;

  /** `batchBytes`: what one call of `next` reads, about. */
  constructor(engine: Engine, log: PartitionLog, offset: number, batchBytes: number) {
    this.#engine = engine;
    this.#log = log;
    this.#batchBytes = batchBytes;
    this.#nextOffset = offset;
    this.#endOffset = log.endOffset;
    this.#open();
  }

  /**
   * The next runs, about `batchBytes` of them, beginning with the one that holds the first offset; none when
   * there are no more. Rejects with DATA_LOSS at damage, after everything before it has been answered.
   */
  async next(): Promise<Run[]> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#isFinished) return [];
    const runs: Run[] = [];
    try {
      for (const [key, value] of await this.#entries()) {
        // Written, but the main thread has not been told yet: not committed for anybody.
        if (lastOffsetOfLogKey(key) >= this.#log.endOffset) {
          this.#isFinished = true;
          break;
        }
        for (const run of this.#check(key, value).runs) {
          if (run.endOffset > this.#nextOffset) runs.push(run);
        }
        this.#nextOffset = lastOffsetOfLogKey(key) + 1;
        this.#isFirst = false;
      }
    } catch (failure) {
      endOnDefect(failure);
      this.#failure = failure;
      await this.close();
      if (runs.length === 0) throw failure;
    }
    return runs;
  }

  async close(): Promise<void> {
    const scan = this.#scan;
    this.#scan = undefined;
    await scan?.close();
  }

  /** Up to known damage: a batch that runs into it would be lost as a whole. */
  #open(): void {
    const { topicId, partition, damage } = this.#log;
    const known = damage.from(this.#nextOffset);
    if (known !== undefined && known.firstOffset <= this.#nextOffset) return;
    const range =
      known === undefined
        ? logRange(topicId, this.#nextOffset)
        : logRangeUntil(topicId, this.#nextOffset, known.firstOffset);
    this.#scan = this.#engine.scan(partitionColumn(partition), range, { batchBytes: this.#batchBytes });
  }

  async #entries(): Promise<Entries> {
    const entries = await this.#read();
    if (entries.length > 0) return entries;
    const known = this.#log.damage.at(this.#nextOffset);
    if (known !== undefined) throw this.#loss(known.lastOffset, known.why);
    this.#isFinished = true;
    if (this.#nextOffset < this.#endOffset) throw this.#loss(this.#endOffset - 1, 'they are missing');
    return entries;
  }

  async #read(): Promise<Entries> {
    for (let isRetry = false; ; isRetry = true) {
      if (this.#scan === undefined) return [];
      try {
        return await this.#scan.next(limits.readAheadRecords);
      } catch (error) {
        await this.close();
        if (engineFault(error) === 'corruption') return await this.#readAround();
        if (engineFault(error) !== 'io') throw error;
        if (isRetry) throw readFailed(this.#log, this.#nextOffset, error);
        this.#open();
      }
    }
  }

  /** What can be read before the damage. The scan goes on without an engine's scan: it ends there. */
  async #readAround(): Promise<Entries> {
    const { before, damage } = await readAroundDamage(
      this.#engine,
      this.#log,
      this.#nextOffset,
      this.#endOffset,
      limits.readAheadRecords,
    );
    if (damage !== undefined) this.#log.damage.add(damage);
    else {
      const last = before.at(-1);
      if (last !== undefined) this.#reopenBehind(lastOffsetOfLogKey(last[0]) + 1);
    }
    return before;
  }

  /** So many records came before the damage that it was not met again. */
  #reopenBehind(offset: number): void {
    const { topicId, partition } = this.#log;
    this.#scan = this.#engine.scan(partitionColumn(partition), logRange(topicId, offset), {
      batchBytes: this.#batchBytes,
    });
  }

  #check(key: Buffer, value: Buffer): LogRecord {
    let record: LogRecord;
    try {
      record = readRecord(key, value, this.#log.partition);
    } catch (error) {
      if (!(error instanceof DamagedRecord)) throw error;
      throw this.#loss(lastOffsetOfLogKey(key), `the record is damaged: ${error.message}`);
    }
    if (record.firstOffset > this.#nextOffset) {
      throw this.#loss(record.firstOffset - 1, 'they are missing');
    }
    if (record.firstOffset < this.#nextOffset && !this.#isFirst) {
      throw this.#loss(record.lastOffset, 'two records hold the same offsets');
    }
    return record;
  }

  /** What looks like a loss is none where the messages were removed after the read was asked for. */
  #loss(lastOffset: number, why: string): Error {
    checkReadable(this.#log, this.#nextOffset);
    return dataLoss(this.#log, this.#nextOffset, lastOffset, why);
  }
}
