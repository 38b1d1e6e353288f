import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { SluiceError } from '../../base/errors.js';
import { endOnDefect } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import { partitionColumn } from '../engine/columns.js';
import { damageMessage, type Engine, engineFault } from '../engine/engine.js';
import { readFileIfAny, removeFile, replaceFile } from '../engine/files.js';
import { lastOffsetOfLogKey, logKey, logRange } from '../engine/keys.js';
import type { LiveTable } from '../engine/manifest.js';
import type { PartitionLog } from '../log/partition-log.js';
import { type AroundDamage, readAroundDamage, readOnce } from '../log/read-around.js';
import { findLiveTable, tableFileName } from './database-check.js';
import { parseObject } from './marker.js';

/**
 * Damage that RocksDB found in a background compaction. RocksDB then accepts no more writes, and can't be resumed:
 * the binding has neither `Resume` nor a repair. So the damage is located and noted in a file, and the next start
 * refuses with the same message instead of meeting the damage again.
 */
export const tableDamageName = 'damage.json';

/** The contents of the file. */
interface NotedDamage {
  /** Name of the table in `db/`. */
  readonly table: string;
  /** CRC-32 of the whole table: another file of the same name, from a backup, is not damaged. */
  readonly tableChecksum: number;
  readonly message: string;
}

export interface DamageSite {
  readonly engine: Engine;
  readonly databasePath: string;
  readonly notePath: string;
  /** The logs of one partition number, over all topics. */
  readonly logsOf: (partition: number) => readonly PartitionLog[];
}

/** Describes what the damage affects, and notes it. */
export async function reportTableDamage(site: DamageSite, engineError: string): Promise<SluiceError> {
  const number = /(\d+)\.sst/.exec(engineError)?.[1];
  const why = damageMessage(engineError);
  const advice = 'Starting the broker again does not repair it: restore the data directory from a backup';
  if (number === undefined) {
    return new SluiceError('DATA_LOSS', `the database is damaged: ${why}. ${advice}`);
  }
  const table = tableFileName(Number(number));
  const what = await describeTable(site, Number(number));
  const message = `the table ${table} is damaged, ${what}: ${why}. ${advice}. With --accept-data-loss it serves until a compaction meets the table again`;
  const bytes = await readFileIfAny(join(site.databasePath, table));
  if (bytes !== undefined) {
    const noted: NotedDamage = { table, tableChecksum: crc32(bytes), message };
    await replaceFile(site.notePath, `${JSON.stringify(noted, undefined, 2)}\n`);
  }
  return new SluiceError('DATA_LOSS', message);
}

/** The same if even that may fail: then the error says so. */
export async function describeDamage(site: DamageSite, engineError: string): Promise<SluiceError> {
  try {
    return await reportTableDamage(site, engineError);
  } catch (failure) {
    endOnDefect(failure);
    const message = `the database is damaged: ${damageMessage(engineError)}; what is lost could not be found out: ${damageMessage(failure)}`;
    return new SluiceError('DATA_LOSS', message, { cause: failure });
  }
}

/** The noted damage, if the damaged table still exists unchanged; undefined otherwise. */
export async function readNotedDamage(databasePath: string, notePath: string): Promise<string | undefined> {
  const bytes = await readFileIfAny(notePath);
  if (bytes === undefined) return undefined;
  const noted = parse(bytes);
  if (noted !== undefined) {
    const table = await readFileIfAny(join(databasePath, noted.table));
    if (table !== undefined && crc32(table) === noted.tableChecksum) return noted.message;
  }
  // The table was replaced or compacted away. If the note itself is damaged, the damage will be found again.
  await removeFile(notePath);
  return undefined;
}

function parse(bytes: Buffer): NotedDamage | undefined {
  const { table, tableChecksum, message } = parseObject(bytes) ?? {};
  if (typeof table !== 'string' || !/^\d+\.sst$/.test(table)) return undefined;
  if (typeof tableChecksum !== 'number' || typeof message !== 'string') return undefined;
  return { table, tableChecksum, message };
}

async function describeTable(site: DamageSite, number: number): Promise<string> {
  const found = await findLiveTable(site.databasePath, number);
  if (found === undefined) return 'which the database no longer needs';
  const { columnName, table } = found;
  const partition = /^partition-(\d+)$/.exec(columnName)?.[1];
  if (partition === undefined)
    return `which holds ${nameOfColumn[columnName] ?? columnName}${ownersOf(table)}`;
  const of = `which holds messages of partition ${Number(partition)}`;
  const lost: string[] = [];
  try {
    lost.push(...(await lostOffsets(site, Number(partition), table)));
  } catch (error) {
    endOnDefect(error);
    // For example if closing the database found the damage: the database can't be read any more.
    return `${of} (which ones could not be found out: ${damageMessage(error)})`;
  }
  if (lost.length > 0) return `which holds ${lost.join('; ')}`;
  return `${of}, none of which is lost`;
}

async function lostOffsets(site: DamageSite, partition: number, table: LiveTable): Promise<string[]> {
  const lost: string[] = [];
  for (const log of site.logsOf(partition)) {
    for (const { firstOffset, lastOffset } of await damagedRanges(site.engine, log, table)) {
      lost.push(`topic ${log.topicId}, partition ${log.partition}, offsets ${firstOffset} to ${lastOffset}`);
    }
  }
  return lost;
}

const nameOfColumn: Readonly<Record<string, string>> = {
  default: 'the catalog',
  cursors: 'cursors and dead-letter notes',
  producers: 'producers',
};

/** Keys of cursors begin with the id of a subscription, keys of producers with the id of a topic. */
function ownersOf({ smallestKey, largestKey }: LiveTable): string {
  if (smallestKey.length < 5 || largestKey.length < 5) return '';
  return ` of the ids ${smallestKey.readUInt32BE(0)} to ${largestKey.readUInt32BE(0)}`;
}

/** The unreadable offsets of a log, among the keys of the table. */
async function damagedRanges(
  engine: Engine,
  log: PartitionLog,
  { smallestKey, largestKey }: LiveTable,
): Promise<{ firstOffset: number; lastOffset: number }[]> {
  const isOutside =
    Buffer.compare(logKey(log.topicId + 1, 0), smallestKey) <= 0 ||
    Buffer.compare(logKey(log.topicId, 0), largestKey) > 0;
  if (isOutside) return [];
  const beginsInside = smallestKey.readUInt32BE(0) === log.topicId;
  const from = beginsInside ? await firstOffsetOfRecord(engine, log, smallestKey) : 0;
  const to = largestKey.readUInt32BE(0) === log.topicId ? lastOffsetOfLogKey(largestKey) + 1 : log.endOffset;
  const found: { firstOffset: number; lastOffset: number }[] = [];
  const end = Math.min(to, log.endOffset);
  for (let at = Math.max(log.firstOffset, from); at < end; ) {
    const { before, damage } = await readToDamage(engine, log, at);
    const last = before.at(-1);
    // A read may find the damage of a later table.
    if (damage !== undefined && damage.firstOffset < end) found.push(damage);
    if (damage === undefined && last === undefined) break;
    at = (damage?.lastOffset ?? lastOffsetOfLogKey(last![0])) + 1;
  }
  return found;
}

/**
 * A key has the last offset of its record: the first one follows the record before. If that record can't be read either,
 * the last offset stands for the record.
 */
async function firstOffsetOfRecord(engine: Engine, log: PartitionLog, key: Buffer): Promise<number> {
  const range = { gte: logKey(log.topicId, 0), lt: key };
  const scan = engine.scan(partitionColumn(log.partition), range, {
    isReverse: true,
    hasValues: false,
    batchBytes: 1,
  });
  try {
    const [before] = await scan.next(1);
    return before === undefined ? 0 : lastOffsetOfLogKey(before[0]) + 1;
  } catch (error) {
    if (engineFault(error) !== 'corruption') throw error;
    return lastOffsetOfLogKey(key);
  } finally {
    await scan.close();
  }
}

const recordsAtOnce = 1_000;

/** Reads many records at once, and one by one only if that fails. */
async function readToDamage(engine: Engine, log: PartitionLog, offset: number): Promise<AroundDamage> {
  try {
    const range = logRange(log.topicId, offset);
    const before = await readOnce(engine, log.partition, range, recordsAtOnce, limits.readAheadBytes);
    return { before, damage: undefined };
  } catch (error) {
    if (engineFault(error) !== 'corruption') throw error;
    return await readAroundDamage(engine, log, offset, log.endOffset, recordsAtOnce);
  }
}
