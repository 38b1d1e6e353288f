import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { columnNames } from '../engine/columns.js';
import { findUnknownFragment, readLogRecords } from '../engine/engine-log.js';
import { readFileIfAny, readFilePart, syncFile } from '../engine/files.js';
import { type LiveTable, type Manifest, readManifest } from '../engine/manifest.js';
import { decodeRoundNote } from './round-note.js';

/**
 * A check before RocksDB opens the database. Opening changes the files, and hides some losses: RocksDB creates
 * column families that its MANIFEST does not name, skips log records of unknown column families, treats a missing
 * log file as one that is not needed, and treats everything behind a bad log record as never written.
 */
export interface DatabaseCheck {
  /** Missing or damaged parts, one line for each, for people. */
  readonly faults: readonly string[];
  /** False if RocksDB must not open the database even if the loss is accepted: it would not return. */
  readonly canBeOpened: boolean;
  /** The sequence number of the last whole record of the write-ahead log: the opened database must reach it. */
  readonly lastSequence: number;
}

export const nothingFound: DatabaseCheck = { faults: [], canBeOpened: true, lastSequence: 0 };

interface CheckedDatabase {
  readonly databasePath: string;
  /** Undefined if no valid note can exist. */
  readonly roundNotePath: string | undefined;
  /** The number of column families for partitions that must exist. */
  readonly maxPartitionCount: number;
}

export async function checkDatabase(database: CheckedDatabase): Promise<DatabaseCheck> {
  const { databasePath, roundNotePath, maxPartitionCount } = database;
  const found = await findManifest(databasePath);
  if (typeof found === 'string') return { ...nothingFound, faults: [found], canBeOpened: false };
  const { name: manifestName, manifest } = found;
  // Damaged, or written by a RocksDB that this code does not know: RocksDB will report it.
  if (manifest === undefined) return nothingFound;

  const names = [...manifest.columns.values()];
  const missingColumns = columnNames(maxPartitionCount).filter((name) => !names.includes(name));
  const faults = missingColumns.map(
    (name) => `${manifestName} does not name the column family ${name}: it was cut off`,
  );
  const tableFaults = await checkTables(databasePath, manifest);
  faults.push(...tableFaults);
  const strange = await findUnknownFragments(databasePath, manifestName, manifest.oldestLogNumber);
  if (strange.length > 0) return { ...nothingFound, faults: [...faults, ...strange], canBeOpened: false };
  const logs = await readLogs(databasePath, manifest.oldestLogNumber);
  const noteBytes = roundNotePath === undefined ? undefined : await readFileIfAny(roundNotePath);
  const note = noteBytes === undefined ? undefined : decodeRoundNote(noteBytes);
  if (note !== undefined && manifest.logNumberOfColumns < note.columnsLogNumber) {
    faults.push(
      `${manifestName} is cut off, or an older copy: changes of the last opening are missing from it`,
    );
  }
  faults.push(...checkLogs(logs, manifest.oldestLogNumber, note?.firstLogNumber));
  const lastSequence = Math.max(0, ...logs.map((log) => log.lastSequence ?? 0));
  // RocksDB does not open a database without one of its tables, or with a manifest that it can't read.
  return { faults, canBeOpened: tableFaults.length === 0 && manifest.isComplete, lastSequence };
}

interface FoundManifest {
  readonly name: string;
  readonly manifest: Manifest | undefined;
}

/** The MANIFEST that CURRENT names, or a fault. */
async function findManifest(databasePath: string): Promise<FoundManifest | string> {
  const current = await readFileIfAny(join(databasePath, 'CURRENT'));
  if (current === undefined) return `${join(databasePath, 'CURRENT')} is missing`;
  const name = current.toString().trim();
  if (!/^MANIFEST-\d+$/.test(name)) return `${join(databasePath, 'CURRENT')} is damaged`;
  const bytes = await readFileIfAny(join(databasePath, name));
  if (bytes === undefined) return `${join(databasePath, name)}, which CURRENT names, is missing`;
  return { name, manifest: readManifest(bytes) };
}

async function checkTables(databasePath: string, { columns, tables }: Manifest): Promise<string[]> {
  const faults: string[] = [];
  for (const [number, { column, byteLength }] of tables) {
    const name = fileName(number, 'sst');
    const found = await sizeOf(join(databasePath, name));
    const what = `${name}, a table of ${columns.get(column) ?? 'an unknown column family'},`;
    if (found === undefined) faults.push(`${what} is missing`);
    else if (found !== byteLength) faults.push(`${what} has ${found} bytes instead of ${byteLength}`);
  }
  return faults;
}

interface LogFile {
  readonly number: number;
  /** The sequence number of the first change; undefined if the log has none, or if its beginning can't be read. */
  readonly firstSequence: number | undefined;
  /** The sequence number of the last change in a whole record; undefined if there is none. */
  readonly lastSequence: number | undefined;
}

/** Each file must continue where the one before ends, and the first one must be the oldest that is needed. */
function checkLogs(
  logs: readonly LogFile[],
  oldestNumber: number,
  firstNumber: number | undefined,
): string[] {
  const faults: string[] = [];
  const written = logs.filter(({ lastSequence }) => lastSequence !== undefined);
  // If no log has a record, the store was opened and not written: the note says how far it must reach.
  if (written.length > 0 && firstNumber !== undefined) {
    const needed = Math.max(oldestNumber, firstNumber);
    if (!logs.some(({ number }) => number === needed)) {
      faults.push(`${fileName(needed, 'log')}, the oldest file of the write-ahead log, is missing`);
    }
  }
  for (const [index, { number, firstSequence }] of written.entries()) {
    const before = written[index - 1];
    if (before === undefined || firstSequence === undefined || firstSequence === before.lastSequence! + 1)
      continue;
    const gap = `changes ${before.lastSequence! + 1} to ${firstSequence - 1} between it and ${fileName(number, 'log')}`;
    faults.push(
      `${fileName(before.number, 'log')} is cut off, or a file behind it is missing: ${gap} are not there`,
    );
  }
  return faults;
}

async function logNumbers(databasePath: string, oldestNumber: number): Promise<number[]> {
  return (await readdir(databasePath))
    .filter((name) => /^\d+\.log$/.test(name))
    .map((name) => Number.parseInt(name, 10))
    .filter((number) => number >= oldestNumber)
    .sort((a, b) => a - b);
}

/**
 * A multiple of the block size of a log. Logs are read in full, and RocksDB reads them again: about a second for
 * each gigabyte.
 */
const chunkBytes = 4 * 1024 * 1024;

async function findUnknownFragments(
  databasePath: string,
  manifestName: string,
  oldestNumber: number,
): Promise<string[]> {
  const logs = (await logNumbers(databasePath, oldestNumber)).map((number) => fileName(number, 'log'));
  const faults: string[] = [];
  for (const name of [manifestName, ...logs]) {
    const path = join(databasePath, name);
    const size = (await sizeOf(path)) ?? 0;
    for (let from = 0; from < size; from += chunkBytes) {
      const at = findUnknownFragment(await readFilePart(path, from, Math.min(chunkBytes, size - from)));
      if (at === undefined) continue;
      faults.push(`${name} is damaged: at byte ${from + at} there is a record of an unknown kind`);
      break;
    }
  }
  return faults;
}

async function readLogs(databasePath: string, oldestNumber: number): Promise<LogFile[]> {
  const numbers = await logNumbers(databasePath, oldestNumber);
  const logs: LogFile[] = [];
  for (const number of numbers) logs.push(await readLog(join(databasePath, fileName(number, 'log')), number));
  return logs;
}

/**
 * Checksums are computed only at both ends: a log may exceed a gigabyte, and `findUnknownFragments` has read the
 * headers. The size grows until a whole record is found.
 */
const smallestReadBytes = 1024 * 1024;

async function readLog(path: string, number: number): Promise<LogFile> {
  const size = (await sizeOf(path)) ?? 0;
  let firstSequence: number | undefined;
  let lastSequence: number | undefined;
  for (let length = smallestReadBytes; firstSequence === undefined; length *= 8) {
    const { records } = readLogRecords(await readFilePart(path, 0, Math.min(size, length)), true);
    firstSequence = records.map(sequences).find(({ count }) => count > 0)?.first;
    if (length >= size) break;
  }
  for (let length = smallestReadBytes; lastSequence === undefined; length *= 8) {
    // At a block boundary. Blocks are 32 KiB.
    const from = Math.max(0, size - (size % smallestReadBytes) - length);
    const { records } = readLogRecords(await readFilePart(path, from, size - from), from === 0);
    // RocksDB also writes batches without changes, to mark where it continues.
    lastSequence = records.map(sequences).findLast(({ count }) => count > 0)?.last;
    if (from === 0) break;
  }
  return { number, firstSequence, lastSequence };
}

/** A log record is a batch: sequence number u64 · count u32 · changes. */
function sequences(record: Buffer): { first: number; count: number; last: number } {
  if (record.length < 12) return { first: 0, count: 0, last: 0 };
  const first = Number(record.readBigUInt64LE(0));
  const count = record.readUInt32LE(8);
  return { first, count, last: first + count - 1 };
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function fileName(number: number, extension: 'sst' | 'log'): string {
  return `${String(number).padStart(6, '0')}.${extension}`;
}

/** The beginning of a database that was just opened, for the note of the last round. */
export interface DatabaseStart {
  /** The number of the write-ahead log file that the opening created. */
  readonly firstLogNumber: number;
  readonly columnsLogNumber: number;
}

export async function readDatabaseStart(databasePath: string): Promise<DatabaseStart> {
  const firstLogNumber = Math.max(0, ...(await logNumbers(databasePath, 0)));
  const found = await findManifest(databasePath);
  const manifest = typeof found === 'string' ? undefined : found.manifest;
  return { firstLogNumber, columnsLogNumber: manifest?.logNumberOfColumns ?? 0 };
}

/** Syncs the files of the write-ahead log. */
export async function syncLogs(databasePath: string): Promise<void> {
  for (const number of await logNumbers(databasePath, 0)) {
    await syncFile(join(databasePath, fileName(number, 'log')));
  }
}

/** A table that the database needs, by its number. */
export async function findLiveTable(
  databasePath: string,
  number: number,
): Promise<{ readonly columnName: string; readonly table: LiveTable } | undefined> {
  const found = await findManifest(databasePath);
  if (typeof found === 'string' || found.manifest === undefined) return undefined;
  const table = found.manifest.tables.get(number);
  if (table === undefined) return undefined;
  return { columnName: found.manifest.columns.get(table.column) ?? '', table };
}

export function tableFileName(number: number): string {
  return fileName(number, 'sst');
}
