import { DamagedRecord, readRecord } from '../codec/record.js';
import { partitionColumn } from '../engine/columns.js';
import { damageMessage, type Engine, engineFault, type KeyRange } from '../engine/engine.js';
import { lastOffsetOfLogKey, logKey, logRange } from '../engine/keys.js';
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
 * The first readable record at or after an offset, key and value. If the engine refuses the block of the record, the
 * record is read from the table file. Undefined after the last record. Rejects with the engine's error if no record is
 * found.
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
    const [inBlock] = await wholeRecords(engine, log, offset, error);
    const limit =
      inBlock === undefined
        ? Math.min(offset + mostKeys, log.endOffset)
        : readRecord(inBlock[0], inBlock[1], log.partition).firstOffset;
    for (let from = offset; from < limit; from += keysAtOnce) {
      const [first] = await readByKeys(engine, log, from, Math.min(from + keysAtOnce, limit));
      if (first !== undefined) return first;
    }
    if (inBlock === undefined) throw error;
    return inBlock;
  }
}

/** The number of offsets that are tried as the key of the next record. A key is the last offset of its record. */
const mostKeys = 16_000;
/** The number of keys in one read. */
const keysAtOnce = 250;

/**
 * The records whose last offsets lie in a range. A scan begins in every table of the first level, so a damaged block at the
 * beginning of one of them makes scans fail that begin before it. A read by key reads only tables that may contain the key.
 */
async function readByKeys(engine: Engine, log: PartitionLog, from: number, until: number): Promise<Entries> {
  // These reads block. Other work gets its turn between them.
  await new Promise((resolve) => setImmediate(resolve));
  const keys = Array.from({ length: until - from }, (_, index) => logKey(log.topicId, from + index));
  try {
    const values = engine.getMany(partitionColumn(log.partition), keys);
    return keys.flatMap((key, index): Entries => {
      const value = values[index];
      return value === undefined ? [] : [[key, value]];
    });
  } catch (error) {
    if (engineFault(error) !== 'corruption') throw error;
    if (until - from <= 1) return [];
    const middle = from + Math.floor((until - from) / 2);
    return [
      ...(await readByKeys(engine, log, from, middle)),
      ...(await readByKeys(engine, log, middle, until)),
    ];
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
    const found = await readContiguous(engine, log, next, endOffset, error);
    // The next read meets the damage that follows.
    if (found.length > 0) return { before: [...before, ...found], damage: undefined };
    const lastOffset = (await firstReadable(engine, log, next, endOffset)) - 1;
    return { before, damage: { firstOffset: next, lastOffset, why: describe(error) } };
  } finally {
    await scan.close();
  }
}

/** Records without a gap from `offset` on, where a scan from there fails with this error. */
async function readContiguous(
  engine: Engine,
  log: PartitionLog,
  offset: number,
  endOffset: number,
  error: unknown,
): Promise<Entries> {
  for (const read of [
    () => wholeRecords(engine, log, offset, error),
    () => readByKeys(engine, log, offset, Math.min(offset + keysAtOnce, endOffset)),
  ]) {
    const found: Entries = [];
    let next = offset;
    for (const entry of await read()) {
      if (firstOffsetOf(entry, log) > next) break;
      found.push(entry);
      next = lastOffsetOfLogKey(entry[0]) + 1;
    }
    if (found.length > 0) return found;
  }
  return [];
}

/** Of a record that may be damaged: then what its key says. */
function firstOffsetOf([key, value]: Entries[number], { partition }: PartitionLog): number {
  try {
    return readRecord(key, value, partition).firstOffset;
  } catch (error) {
    if (error instanceof DamagedRecord) return lastOffsetOfLogKey(key);
    throw error;
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
