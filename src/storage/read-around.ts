import { partitionColumn } from './columns.js';
import type { DamagedRange } from './damaged-offsets.js';
import { damageMessage, type Engine, engineFault, type KeyRange } from './engine.js';
import { lastOffsetOfLogKey, logRange } from './keys.js';
import type { PartitionLog } from './partition-log.js';
import { DamagedRecord, readRecord } from './record.js';

/**
 * Reading around damage. The engine reads whole blocks, and one changed bit makes a block unreadable. After an
 * error, a scan must not be used: `next` would end the process. So the records around the block are found by new
 * scans.
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
    const lastOffset = (await firstReadable(engine, log, next, endOffset)) - 1;
    return { before, damage: { firstOffset: next, lastOffset, why: describe(error) } };
  } finally {
    await scan.close();
  }
}

/**
 * The first offset behind `damagedOffset` that can be read, or `endOffset`. Goes forward in growing steps until a
 * read succeeds, and then halves the last step: about twenty reads of one block each.
 */
export async function firstReadable(
  engine: Engine,
  log: PartitionLog,
  damagedOffset: number,
  endOffset: number,
): Promise<number> {
  let damaged = damagedOffset;
  let readable = endOffset;
  for (let step = 1; damaged + step < endOffset; step *= 2) {
    const found = await readableAt(engine, log, damaged + step);
    if (found !== undefined) {
      readable = Math.min(endOffset, Math.max(found, damaged + 1));
      break;
    }
    damaged += step;
  }
  while (readable - damaged > 1) {
    const middle = damaged + Math.floor((readable - damaged) / 2);
    const found = await readableAt(engine, log, middle);
    if (found === undefined) damaged = middle;
    else readable = Math.max(found, damaged + 1);
  }
  return readable;
}

/** The first offset of the record that contains `offset` or follows it; undefined if its block is damaged. */
async function readableAt(engine: Engine, log: PartitionLog, offset: number): Promise<number | undefined> {
  try {
    const [entry] = await readOnce(engine, log.partition, logRange(log.topicId, offset), 1, 1);
    if (entry === undefined) return offset;
    const firstOffset = readRecord(entry[0], entry[1], log.partition).firstOffset;
    return Math.min(firstOffset, offset);
  } catch (error) {
    if (error instanceof DamagedRecord) return offset;
    if (engineFault(error) !== 'corruption') throw error;
    return undefined;
  }
}

function describe(error: unknown): string {
  return `the block that holds them is damaged: ${damageMessage(error)}`;
}
