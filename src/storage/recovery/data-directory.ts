import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { SluiceError } from '../../base/errors.js';
import { endOnDefect } from '../../base/invariant.js';
import type { Logger } from '../../base/logger.js';
import { DamagedRecord } from '../codec/record.js';
import { Engine, engineFault, engineMessage } from '../engine/engine.js';
import { makeDirectory, readDirectoryIfAny, readFileIfAny } from '../engine/files.js';
import type { StorageOptions } from '../types.js';
import {
  checkDatabase,
  type DatabaseCheck,
  type DatabaseStart,
  nothingFound,
  readDatabaseStart,
  syncLogs,
} from './database-check.js';
import { releaseReserve } from './disk-reserve.js';
import { listFaults } from './faults.js';
import { currentFormat, type Marker, markerName, parseMarker, writeMarker } from './marker.js';
import { readIdentity, type StoreIdentity, sealSmallRecords, writeIdentity } from './migration.js';
import { decodeRoundNote, raiseRoundNote, readBootId, roundNoteName, writeRoundNote } from './round-note.js';
import { readNotedDamage, tableDamageName } from './table-damage.js';

/**
 * The data directory:
 *
 *     sluice.json      the marker of the directory, with its format: see marker.ts
 *     db/              RocksDB, with the lock
 *     last-round       how far the database must reach: see round-note.ts
 *     reserve          disk space for the next start, when the disk runs low: see disk-reserve.ts
 *     damage.json      tables that can't be read, if there are any: see table-damage.ts
 *     synced-offsets   how far each partition must reach, to name missing messages: see synced-offsets.ts
 *
 * Nothing in an existing store is changed before its lock is held. A store is created, and migrated, in this order:
 * database → the store's id in it → last-round → sluice.json.
 */
const databaseName = 'db';
const syncedOffsetsName = 'synced-offsets';

export interface DataDirectory {
  readonly engine: Engine;
  readonly storeId: string;
  /** False if the database has lost the identity of its store. `writeIdentity` repairs that. */
  readonly hasIdentity: boolean;
  /** Missing or damaged parts of the database, one line for each, for people. */
  readonly missing: readonly string[];
  readonly start: DatabaseStart;
  readonly databasePath: string;
  readonly tableDamagePath: string;
  readonly roundNotePath: string;
  readonly syncedOffsetsPath: string;
}

/** Opens or creates the store and takes its lock. Migrates an older format. Every refusal says what to do. */
export async function openDataDirectory(
  directory: string,
  { maxPartitionCount, acceptDataLoss }: Pick<StorageOptions, 'maxPartitionCount' | 'acceptDataLoss'>,
  logger: Logger,
): Promise<DataDirectory> {
  const marker = await inspect(directory);
  const paths = {
    databasePath: join(directory, databaseName),
    tableDamagePath: join(directory, tableDamageName),
    roundNotePath: join(directory, roundNoteName),
    syncedOffsetsPath: join(directory, syncedOffsetsName),
  };
  // While another broker uses the directory, nothing is changed, and its files may change at any time.
  if (await Engine.isLocked(paths.databasePath)) throw directoryInUse(directory);
  await usable(directory, () => releaseReserve(directory));
  let check = nothingFound;
  if (marker !== undefined) {
    checkPartitionCount(directory, marker, maxPartitionCount);
    check = await checkFiles(directory, paths, marker, acceptDataLoss);
  }
  const engine = await openEngine(directory, maxPartitionCount, marker === undefined);
  try {
    const start = await usable(directory, () => readDatabaseStart(paths.databasePath));
    const missing = [...check.faults];
    if (engine.sequence < check.lastSequence) {
      missing.push(
        `the write-ahead log holds changes up to ${check.lastSequence}, of which those behind ${engine.sequence} can't be read: a record before them is damaged`,
      );
    }
    const isFinished = marker?.format === currentFormat && marker.migratingFrom === undefined;
    // A migration writes: not before the loss was accepted.
    if (!isFinished && missing.length > 0 && !acceptDataLoss) throw databaseIncomplete(directory, missing);
    const { storeId, hasIdentity } = isFinished
      ? await checkIdentity(directory, engine, marker)
      : await makeOrMigrate(directory, engine, marker, maxPartitionCount, start, logger);
    if (!hasIdentity) missing.push('the database does not know its store');
    if (!isFinished || marker.maxPartitionCount !== maxPartitionCount) {
      await usable(directory, () =>
        writeMarker(directory, { format: currentFormat, maxPartitionCount, storeId }),
      );
    }
    return { engine, storeId, hasIdentity, missing, start, ...paths };
  } catch (error) {
    await closeRefused(engine, logger);
    throw error;
  }
}

/** Closes a database that is refused. The caller reports the reason for the refusal. */
export async function closeRefused(engine: Engine, logger: Logger): Promise<void> {
  try {
    await engine.close();
  } catch (error) {
    endOnDefect(error);
    logger.warn({ error: engineMessage(error) }, 'the database could not be closed');
  }
}

/** The marker of the directory; undefined if a store may be created. */
async function inspect(directory: string): Promise<Marker | undefined> {
  const names = await usable(directory, async () => {
    await makeDirectory(directory);
    return await readDirectoryIfAny(directory);
  });
  const bytes = await usable(directory, () => readFileIfAny(join(directory, markerName)));
  if (bytes !== undefined) return parseMarker(directory, bytes);
  const foreign = (names ?? []).find((name) => !isOfUnfinishedStore(name));
  if (foreign !== undefined || !(await isUnfinished(directory))) {
    throw new SluiceError(
      'DATA_DIRECTORY_FOREIGN',
      `${directory} holds ${foreign ?? 'a database'} but no ${markerName}: it is not a data directory of Sluice, or has lost that file; choose an empty one, or restore it from a backup`,
    );
  }
  return undefined;
}

/**
 * The marker is written last: a process that ended earlier leaves these files. `lost+found` belongs to the file
 * system.
 */
function isOfUnfinishedStore(name: string): boolean {
  const ours = [databaseName, roundNoteName, `${roundNoteName}.new`, `${markerName}.new`];
  return ours.includes(name) || name === 'lost+found';
}

/** No round was written, and no table was flushed: the creation of our store was interrupted. */
async function isUnfinished(directory: string): Promise<boolean> {
  const note = await usable(directory, () => readFileIfAny(join(directory, roundNoteName)));
  if (note !== undefined && decodeRoundNote(note)?.round !== 0) return false;
  const names = (await usable(directory, () => readDirectoryIfAny(join(directory, databaseName)))) ?? [];
  return names.every((name) =>
    /^(CURRENT|IDENTITY|LOCK|(MANIFEST|OPTIONS)-\d+|\d+\.(log|dbtmp))$/.test(name),
  );
}

function checkPartitionCount(directory: string, marker: Marker, maxPartitionCount: number): void {
  if (marker.maxPartitionCount > maxPartitionCount) {
    throw new SluiceError(
      'INVALID_SETTING',
      `the most partitions of a topic can't be lowered: ${directory} was made for ${marker.maxPartitionCount}, the setting says ${maxPartitionCount}`,
    );
  }
}

type CheckedIdentity = Pick<DataDirectory, 'storeId' | 'hasIdentity'>;

type Paths = Pick<DataDirectory, 'databasePath' | 'roundNotePath' | 'tableDamagePath'>;

/** Runs before RocksDB changes the files. */
async function checkFiles(
  directory: string,
  { databasePath, roundNotePath, tableDamagePath }: Paths,
  { maxPartitionCount, migratingFrom }: Marker,
  acceptDataLoss: boolean,
): Promise<DatabaseCheck> {
  return await usable(directory, async () => {
    const check = await checkDatabase({
      databasePath,
      // A migration writes before there is a note.
      roundNotePath: migratingFrom === undefined ? roundNotePath : undefined,
      maxPartitionCount,
    });
    const noted = await readNotedDamage(databasePath, tableDamagePath);
    if (noted !== undefined && !acceptDataLoss) throw new SluiceError('DATA_LOSS', noted);
    if (check.faults.length === 0) {
      // RocksDB is about to drop the log: the next start must still detect its loss.
      await raiseRoundNote(roundNotePath, check.lastSequence, () => syncLogs(databasePath));
      return check;
    }
    if (!check.canBeOpened) throw databaseDamaged(directory, listFaults(check.faults));
    if (!acceptDataLoss) throw databaseIncomplete(directory, check.faults);
    return check;
  });
}

function databaseIncomplete(directory: string, faults: readonly string[]): SluiceError {
  return new SluiceError(
    'DATA_LOSS',
    `the database in ${directory} is damaged: ${listFaults(faults)}. Restore the directory from a backup, or start without what is lost: --accept-data-loss`,
  );
}

/** The marker and the database must belong to the same store, and have the same format. */
async function checkIdentity(directory: string, engine: Engine, marker: Marker): Promise<CheckedIdentity> {
  const { storeId, format } = marker;
  const identity = await damaged(directory, () => readIdentity(engine));
  if (identity === undefined) return { storeId, hasIdentity: false };
  if (identity.format === format && identity.storeId === storeId) return { storeId, hasIdentity: true };
  throw new SluiceError(
    'DATA_LOSS',
    `${directory}: ${markerName} is of store ${storeId} in format ${format}, the database is of store ${identity.storeId} in format ${identity.format}: one of them was replaced; restore the directory from a backup`,
  );
}

/** From here on, older versions refuse the directory because of its marker. */
async function makeOrMigrate(
  directory: string,
  engine: Engine,
  marker: Marker | undefined,
  maxPartitionCount: number,
  start: DatabaseStart,
  logger: Logger,
): Promise<CheckedIdentity> {
  const storeId = marker?.storeId || randomBytes(16).toString('hex');
  const from = marker?.migratingFrom ?? marker?.format;
  if (marker !== undefined && from !== undefined) {
    const identity = await damaged(directory, () => readIdentity(engine));
    if (identity !== undefined && identity.storeId !== marker.storeId) throw olderMarker(directory, identity);
    logger.info({ directory, from, to: currentFormat }, 'migrating the data directory to a newer format');
    const migrating = { format: currentFormat, maxPartitionCount, storeId, migratingFrom: from };
    await usable(directory, () => writeMarker(directory, migrating));
    let records = 0;
    if (identity === undefined) {
      await damaged(directory, () =>
        sealSmallRecords(engine, (count) => {
          records += count;
        }),
      );
    }
    logger.info({ directory, records, format: currentFormat }, 'data directory migrated');
  }
  writeIdentity(engine, storeId);
  const { sequence } = engine;
  const bootId = await readBootId();
  const note = {
    storeId,
    round: 0,
    writtenSequence: sequence,
    syncedSequence: sequence,
    bootId,
    ...start,
  };
  await usable(directory, () => writeRoundNote(join(directory, roundNoteName), note));
  return { storeId, hasIdentity: true };
}

function olderMarker(directory: string, { storeId, format }: StoreIdentity): SluiceError {
  return new SluiceError(
    'DATA_LOSS',
    `${directory}: ${markerName} is older than the database, which is of store ${storeId} in format ${format}: restore the directory from a backup`,
  );
}

async function openEngine(directory: string, maxPartitionCount: number, mayCreate: boolean): Promise<Engine> {
  try {
    return await Engine.open(join(directory, databaseName), maxPartitionCount, mayCreate);
  } catch (error) {
    const fault = engineFault(error);
    if (fault === 'locked') {
      throw directoryInUse(directory, error);
    }
    if (fault === 'corruption' || isMissingFile(error))
      throw databaseDamaged(directory, engineMessage(error), error);
    throw unusable(directory, error);
  }
}

function directoryInUse(directory: string, cause?: unknown): SluiceError {
  const message = `${directory} is in use by another process`;
  return new SluiceError('DATA_DIRECTORY_IN_USE', message, cause === undefined ? {} : { cause });
}

/** Whether a file of the database is missing. Only if a database must exist. */
function isMissingFile(error: unknown): boolean {
  return /does not exist|No such file/.test(engineMessage(error));
}

/** Turns the errors of a damaged database into DATA_LOSS. */
async function damaged<T>(directory: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof DamagedRecord) && engineFault(error) !== 'corruption') throw error;
    throw databaseDamaged(directory, engineMessage(error), error);
  }
}

function databaseDamaged(directory: string, why: string, cause?: unknown): SluiceError {
  return new SluiceError(
    'DATA_LOSS',
    `the database in ${directory} is damaged: ${why}; restore the directory from a backup`,
    cause === undefined ? {} : { cause },
  );
}

async function usable<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof SluiceError) throw error;
    throw unusable(path, error);
  }
}

function unusable(path: string, error: unknown): SluiceError {
  return new SluiceError('DATA_DIRECTORY_UNUSABLE', `${path} can't be used: ${engineMessage(error)}`, {
    cause: error,
  });
}
