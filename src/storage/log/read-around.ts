import { DamagedRecord, readRecord } from '../codec/record.js';
import { partitionColumn } from '../engine/columns.js';
import { damageMessage, type Engine, engineFault, type KeyRange } from '../engine/engine.js';
import { lastOffsetOfLogKey, logRange } from '../engine/keys.js';
import type { DamagedRange } from './damaged-offsets.js';
import type { PartitionLog } from './partition-log.js';
import { wholeRecordsOf } from './table-block.js';

/**
 * Reading around damage. The engine reads whole blocks, and one changed bit makes a block unreadable. After an
 * error, a scan must not be used: `next` would end the process. So the records around the block are found by new
 * scans, and the records of the block that are whole are taken from the table file.
 */

/** Records of one partition, key and value, as stored by the engine. */
export type Entries = [key: Buffer, value: Buffer][];

/** Opens a scan, reads once, and closes it. Repeats the read once if the disk failed. */
export async function readOnce(
  engine: Engine,
  partition: number,
  range: KeyRange,
  maxCount: number,
  batchBytes: number,
): Promise<Entries> {
  for (let isRetry = false; ; isRetry = true) {
    const scan = engine.scan(partitionColumn(partition), range, { batchBytes });
    try {
      return await scan.next(maxCount);
    } catch (error) {
      if (engineFault(error) !== 'io') throw error;
      if (isRetry) throw error;
    } finally {
      await scan.close();
    }
  }
}

/**
 * The first readable record at or after an offset, key and value; taken from the block itself if the engine
 * refuses the block. Undefined after the last record. Rejects with the engine's error if no record of the block is
 * whole.
 */
export async function readFirst(
  engine: Engine,
  log: PartitionLog,
  offset: number,
): Promise<Entries[number] | undefined> {
  try {
    return (await readOnce(engine, log.partition, logRange(log.topicId, offset), 1, 1))[0];
  } catch (error) {
    if (engineFault(error) !== 'corruption') throw error;
    const [first] = await wholeRecords(engine, log, offset, error);
    if (first === undefined) throw error;
    return first;
  }
}

/** The whole records of the block that this error names that contain `offset` or follow it. */
async function wholeRecords(
  engine: Engine,
  log: PartitionLog,
  offset: number,
  error: unknown,
): Promise<Entries> {
  const block = await engine.readDamagedBlock(error);
  if (block === undefined) return [];
  const records = wholeRecordsOf(block, log.topicId, log.partition);
  return records.filter(([key]) => lastOffsetOfLogKey(key) >= offset);
}

export interface AroundDamage {
  /** The records before the damage. */
  readonly before: Entries;
  /** Undefined if everything that was requested can be read after all. */
  readonly damage: DamagedRange | undefined;
}

/**
 * After a scan from `offset` has failed: reads at most `maxCount` records before the damage, and finds the offsets
 * that can't be read.
 */
export async function readAroundDamage(
  engine: Engine,
  log: PartitionLog,
  offset: number,
  endOffset: number,
  maxCount: number,
): Promise<AroundDamage> {
  const before: Entries = [];
  let next = offset;
  const scan = engine.scan(partitionColumn(log.partition), logRange(log.topicId, offset), { batchBytes: 1 });
  try {
    while (before.length < maxCount) {
      const [entry] = await scan.next(1);
      if (entry === undefined) break;
      before.push(entry);
      next = lastOffsetOfLogKey(entry[0]) + 1;
    }
    return { before, damage: undefined };
  } catch (error) {
    if (engineFault(error) !== 'corruption') throw error;
    const damagedOffset = next;
    for (const entry of await wholeRecords(engine, log, next, error)) {
      if (readRecord(entry[0], entry[1], log.partition).firstOffset > next) break;
      before.push(entry);
      next = lastOffsetOfLogKey(entry[0]) + 1;
    }
    // The next read meets the damage that follows.
    if (next > damagedOffset) return { before, damage: undefined };
    const lastOffset = (await firstReadable(engine, log, next, endOffset)) - 1;
    return { before, damage: { firstOffset: next, lastOffset, why: describe(error) } };
  } finally {
    await scan.close();
  }
}

/**
 * The first offset behind `damagedOffset` that can be read, or `endOffset`; `damagedOffset` itself can't. If no record
 * behind it in its block is whole, goes forward in growing steps until a read succeeds, and then halves the last step:
 * about twenty reads of one block each.
 */
export async function firstReadable(
  engine: Engine,
  log: PartitionLog,
  damagedOffset: number,
  endOffset: number,
): Promise<number> {
  const inBlock = await readableFrom(engine, log, damagedOffset);
  if (inBlock !== undefined) return Math.min(endOffset, Math.max(inBlock, damagedOffset + 1));
  let damaged = damagedOffset;
  let readable = endOffset;
  let tried = endOffset;
  for (let step = 1; damaged + step < endOffset; step *= 2) {
    const found = await readableFrom(engine, log, damaged + step);
    if (found !== undefined) {
      readable = found;
      tried = damaged + step;
      break;
    }
    damaged += step;
  }
  while (tried - damaged > 1) {
    const middle = damaged + Math.floor((tried - damaged) / 2);
    const found = await readableFrom(engine, log, middle);
    if (found === undefined) damaged = middle;
    else {
      readable = found;
      tried = middle;
    }
  }
  return Math.min(endOffset, readable);
}

/** The first readable offset at or after `offset`; undefined if no record of its block is whole. */
async function readableFrom(engine: Engine, log: PartitionLog, offset: number): Promise<number | undefined> {
  try {
    const entry = await readFirst(engine, log, offset);
    if (entry === undefined) return offset;
    return Math.max(readRecord(entry[0], entry[1], log.partition).firstOffset, offset);
  } catch (error) {
    // The engine can read the block: only this record is damaged.
    if (error instanceof DamagedRecord) return offset;
    if (engineFault(error) !== 'corruption') throw error;
    return undefined;
  }
}

function describe(error: unknown): string {
  return `the block that holds them is damaged: ${damageMessage(error)}`;
}
