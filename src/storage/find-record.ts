import { partitionColumn } from './columns.js';
import { type Engine, engineFault } from './engine.js';
import { lastOffsetOfLogKey, logKey, logRange } from './keys.js';
import { checkReadable, dataLoss } from './log-errors.js';
import type { PartitionLog } from './partition-log.js';
import { DamagedRecord, type LogRecord, readRecord } from './record.js';

/**
 * The first committed record for which `isFound` holds, by binary search: it must hold for all later ones too.
 * Undefined when it holds for none. Rejects with DATA_LOSS when a record that it looks at is damaged.
 */
export async function findRecord(
  engine: Engine,
  log: PartitionLog,
  isFound: (record: LogRecord) => boolean,
): Promise<LogRecord | undefined> {
  let low = log.firstOffset;
  let high = log.endOffset;
  let found: LogRecord | undefined;
  if (low >= high) return undefined;
  const scan = engine.scan(partitionColumn(log.partition), logRange(log.topicId, low), { batchBytes: 1 });
  try {
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      scan.seek(logKey(log.topicId, middle));
      const record = await readAt(log, middle, () => scan.next(1));
      if (isFound(record)) {
        found = record;
        high = record.firstOffset;
      } else {
        low = record.lastOffset + 1;
      }
    }
  } finally {
    await scan.close();
  }
  return found;
}

/** The committed record that holds an offset between the first and the end. Rejects as `findRecord` does. */
export async function recordAt(engine: Engine, log: PartitionLog, offset: number): Promise<LogRecord> {
  const scan = engine.scan(partitionColumn(log.partition), logRange(log.topicId, offset), { batchBytes: 1 });
  try {
    return await readAt(log, offset, () => scan.next(1));
  } finally {
    await scan.close();
  }
}

async function readAt(
  log: PartitionLog,
  offset: number,
  next: () => Promise<[Buffer, Buffer][]>,
): Promise<LogRecord> {
  let lastOffset = offset;
  try {
    const [entry] = await next();
    if (entry !== undefined) {
      lastOffset = lastOffsetOfLogKey(entry[0]);
      const record = readRecord(entry[0], entry[1], log.partition);
      if (record.firstOffset <= offset) return record;
    }
  } catch (error) {
    if (!(error instanceof DamagedRecord) && engineFault(error) !== 'corruption') throw error;
    throw dataLoss(log, offset, lastOffset, `the record is damaged: ${(error as Error).message}`);
  }
  checkReadable(log, offset);
  throw dataLoss(log, offset, offset, 'the record that holds it is missing');
}
