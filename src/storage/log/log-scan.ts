import { endOnDefect } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import { DamagedRecord, type LogRecord, readRecord } from '../codec/record.js';
import type { Run } from '../codec/run.js';
import { partitionColumn } from '../engine/columns.js';
import { type Engine, engineFault, type Scan } from '../engine/engine.js';
import { lastOffsetOfLogKey, logRange, logRangeUntil } from '../engine/keys.js';
import { checkReadable, dataLoss, readFailed } from './log-errors.js';
import type { PartitionLog } from './partition-log.js';
import { type Entries, readAroundDamage } from './read-around.js';

/**
 * Reads the records of one partition from the disk, as of the opening, and trusts nothing: every record must be
 * whole and follow the one before. Opening blocks for one seek.
 *
 * A scan ends at damage: `next` answers everything before it, and then rejects on each call. The log remembers the
 * damage. Messages behind it need a new scan.
 */
export class LogScan {
  readonly #engine: Engine;
  readonly #log: PartitionLog;
  readonly #batchBytes: number;
  /** Undefined if there is nothing to read before known damage, or after an error. */
  #scan: Scan | undefined;
  /** The records must reach this offset: it was committed before the scan was opened. */
  readonly #endOffset: number;
  #nextOffset: number;
  #isFirst = true;
  #isFinished = false;
  #failure: unknown;

  /** `batchBytes`: about how much one call of `next` reads. */
  constructor(engine: Engine, log: PartitionLog, offset: number, batchBytes: number) {
    this.#engine = engine;
    this.#log = log;
    this.#batchBytes = batchBytes;
    this.#nextOffset = offset;
    this.#endOffset = log.endOffset;
    this.#open();
  }

  /**
   * The next runs, about `batchBytes` of them, from the one that contains the first offset on; none at the end.
   * Rejects with DATA_LOSS at damage, after everything before it has been answered.
   */
  async next(): Promise<Run[]> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#isFinished) return [];
    const runs: Run[] = [];
    try {
      for (const [key, value] of await this.#entries()) {
        // Written, but the main thread does not know it yet: not committed.
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

  /** Ends at known damage: a batch that reaches damage would be lost as a whole. */
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

  /** The entries before the damage. The scan ends there. */
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

  /** So many records came before the damage that the second read did not reach it. */
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

  /** Not a loss if the messages were removed after the read began. */
  #loss(lastOffset: number, why: string): Error {
    checkReadable(this.#log, this.#nextOffset);
    return dataLoss(this.#log, this.#nextOffset, lastOffset, why);
  }
}
