import { DamagedRecord, type LogRecord, readRecord } from '../codec/record.js';
import { type Engine, engineFault } from '../engine/engine.js';
import { lastOffsetOfLogKey } from '../engine/keys.js';
import { readFailed } from './log-errors.js';
import type { PartitionLog } from './partition-log.js';
import { firstReadable, readFirst } from './read-around.js';

/**
 * The first committed record from `fromOffset` to before `endOffset` for which `isFound` is true, by binary
 * search: it must be true for all later records too. Undefined if it is true for none. Damaged records are
 * skipped.
 */
export async function findRecord(
  engine: Engine,
  log: PartitionLog,
  isFound: (record: LogRecord) => boolean,
  fromOffset = log.firstOffset,
  endOffset = log.endOffset,
): Promise<LogRecord | undefined> {
  let low = fromOffset;
  let high = endOffset;
  let found: LogRecord | undefined;
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2);
    const record = await nextReadable(engine, log, middle, high);
    if (record === undefined) {
      high = middle;
    } else if (isFound(record)) {
      found = record;
      high = Math.min(middle, record.firstOffset);
    } else {
      low = record.lastOffset + 1;
    }
  }
  return found;
}

/** The record that contains an offset, or the first whole one behind it that begins before `endOffset`. */
export async function nextReadable(
  engine: Engine,
  log: PartitionLog,
  offset: number,
  endOffset: number,
): Promise<LogRecord | undefined> {
  for (let at = offset; at < endOffset; ) {
    const known = log.damage.at(at);
    if (known !== undefined) {
      at = known.lastOffset + 1;
      continue;
    }
    const read = await readOrPass(engine, log, at, endOffset);
    if (typeof read !== 'number') return read;
    at = read;
  }
  return undefined;
}

/** As `nextReadable`, for one read. A number: there is damage, and the next read begins at this offset. */
async function readOrPass(
  engine: Engine,
  log: PartitionLog,
  offset: number,
  endOffset: number,
): Promise<LogRecord | number | undefined> {
  let behind = offset;
  try {
    const entry = await readFirst(engine, log, offset);
    if (entry === undefined) return undefined;
    behind = lastOffsetOfLogKey(entry[0]) + 1;
    const record = readRecord(entry[0], entry[1], log.partition);
    return record.firstOffset < endOffset ? record : undefined;
  } catch (error) {
    if (error instanceof DamagedRecord) return behind;
    const fault = engineFault(error);
    if (fault === 'io') throw readFailed(log, offset, error);
    if (fault !== 'corruption') throw error;
    return firstReadable(engine, log, offset, endOffset);
  }
}
