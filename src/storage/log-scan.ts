import { endOnDefect } from '../base/invariant.js';
import { limits } from '../base/limits.js';
import { partitionColumn } from './columns.js';
import { type Engine, engineFault, type Scan } from './engine.js';
import { lastOffsetOfLogKey, logRange } from './keys.js';
import { checkReadable, dataLoss } from './log-errors.js';
import type { PartitionLog } from './partition-log.js';
import { DamagedRecord, type LogRecord, readRecord } from './record.js';
import type { Run } from './run.js';

/**
 * Goes through the records of one partition on the disk, as they were when it was opened, and takes nothing on
 * trust: every record must be whole and follow the one before. Opening blocks for one seek.
 */
export class LogScan {
  readonly #log: PartitionLog;
  readonly #scan: Scan;
  /** At least this far the records must reach: they were committed before the scan was opened. */
  readonly #endOffset: number;
  #nextOffset: number;
  #isFirst = true;
  #isFinished = false;
  #damage: unknown;

  /** `batchBytes`: what one call of `next` reads, about. */
  constructor(engine: Engine, log: PartitionLog, offset: number, batchBytes: number) {
    this.#log = log;
    this.#nextOffset = offset;
    this.#endOffset = log.endOffset;
    this.#scan = engine.scan(partitionColumn(log.partition), logRange(log.topicId, offset), {
      batchBytes,
    });
  }

  /**
   * The next runs, about `batchBytes` of them, beginning with the one that holds the first offset; none when
   * there are no more. Rejects with DATA_LOSS at damage, after everything before it has been answered.
   */
  async next(): Promise<Run[]> {
    if (this.#damage !== undefined) throw this.#damage;
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
    } catch (damage) {
      endOnDefect(damage);
      if (runs.length === 0) throw damage;
      this.#damage = damage;
    }
    return runs;
  }

  close(): Promise<void> {
    return this.#scan.close();
  }

  async #entries(): Promise<[Buffer, Buffer][]> {
    let entries: [Buffer, Buffer][];
    try {
      entries = await this.#scan.next(limits.readAheadRecords);
    } catch (error) {
      if (engineFault(error) !== 'corruption') throw error;
      throw this.#loss(this.#endOffset - 1, 'the block that holds them is damaged');
    }
    if (entries.length === 0) {
      this.#isFinished = true;
      if (this.#nextOffset < this.#endOffset) throw this.#loss(this.#endOffset - 1, 'they are missing');
    }
    return entries;
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
