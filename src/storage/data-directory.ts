import { join } from 'node:path';
import { SluiceError } from '../base/errors.js';
import { Engine, engineFault, engineMessage } from './engine.js';
import { makeDirectory, readDirectoryIfAny, readFileIfAny, replaceFile } from './files.js';

/**
 * The data directory:
 *
 *     sluice.json      says that the directory is ours, and in which format
 *     db/              RocksDB, with the lock
 *     synced-offsets   see synced-offsets.ts
 *
 * Nothing of an existing store is written before its lock is held.
 */
const markerName = 'sluice.json';
const databaseName = 'db';
const syncedOffsetsName = 'synced-offsets';

/** Raised when older versions could not read what newer ones write. */
const currentFormat = 1;

interface Marker {
  readonly format: number;
  /** Column families for partitions that the database has. */
  readonly maxPartitionCount: number;
}

export interface DataDirectory {
  readonly engine: Engine;
  readonly syncedOffsetsPath: string;
}

/** Opens or makes the store and takes its lock. Every refusal says what to do. */
export async function openDataDirectory(
  directory: string,
  maxPartitionCount: number,
): Promise<DataDirectory> {
  const marker = await inspect(directory);
  if (marker !== undefined) checkMarker(directory, marker, maxPartitionCount);
  const engine = await openEngine(directory, maxPartitionCount);
  try {
    if (marker?.maxPartitionCount !== maxPartitionCount) {
      await writeMarker(directory, { format: currentFormat, maxPartitionCount });
    }
  } catch (error) {
    await engine.close();
    throw error;
  }
  return { engine, syncedOffsetsPath: join(directory, syncedOffsetsName) };
}

/** What the directory says of itself; undefined where a store may be made. */
async function inspect(directory: string): Promise<Marker | undefined> {
  const names = await usable(directory, async () => {
    await makeDirectory(directory);
    return await readDirectoryIfAny(directory);
  });
  const bytes = await usable(directory, () => readFileIfAny(join(directory, markerName)));
  if (bytes !== undefined) return parseMarker(directory, bytes);
  const foreign = (names ?? []).find((name) => !isOfUnfinishedStore(name));
  if (foreign !== undefined || !(await isUnfinishedDatabase(join(directory, databaseName)))) {
    throw new SluiceError(
      'DATA_DIRECTORY_FOREIGN',
      `${directory} holds ${foreign ?? 'a database'} but no ${markerName}: it is not a data directory of Sluice; choose an empty one`,
    );
  }
  return undefined;
}

/** The marker is written last: a process that ended before leaves these. The third belongs to the file system. */
function isOfUnfinishedStore(name: string): boolean {
  return [databaseName, `${markerName}.new`, 'lost+found'].includes(name);
}

/** No database, or one into which nothing was ever flushed: ours when making the store was cut short. */
async function isUnfinishedDatabase(path: string): Promise<boolean> {
  const names = (await usable(path, () => readDirectoryIfAny(path))) ?? [];
  return names.every((name) =>
    /^(CURRENT|IDENTITY|LOCK|(MANIFEST|OPTIONS)-\d+|\d+\.(log|dbtmp))$/.test(name),
  );
}

function parseMarker(directory: string, bytes: Buffer): Marker {
  try {
    const { format, maxPartitionCount } = JSON.parse(bytes.toString());
    if (Number.isInteger(format) && Number.isInteger(maxPartitionCount)) return { format, maxPartitionCount };
  } catch {
    // Not JSON: as foreign as JSON with something else in it.
  }
  throw new SluiceError(
    'DATA_DIRECTORY_FOREIGN',
    `${join(directory, markerName)} was not written by Sluice, or is damaged`,
  );
}

function checkMarker(directory: string, marker: Marker, maxPartitionCount: number): void {
  if (marker.format > currentFormat) {
    throw new SluiceError(
      'DATA_DIRECTORY_NEWER',
      `${directory} has format ${marker.format}, this version knows formats up to ${currentFormat}: use a newer version`,
    );
  }
  if (marker.maxPartitionCount > maxPartitionCount) {
    throw new SluiceError(
      'INVALID_SETTING',
      `the most partitions of a topic can't be lowered: ${directory} was made for ${marker.maxPartitionCount}, the setting says ${maxPartitionCount}`,
    );
  }
}

async function writeMarker(directory: string, marker: Marker): Promise<void> {
  const text = `${JSON.stringify(marker, undefined, 2)}\n`;
  await usable(directory, () => replaceFile(join(directory, markerName), text));
}

async function openEngine(directory: string, maxPartitionCount: number): Promise<Engine> {
  try {
    return await Engine.open(join(directory, databaseName), maxPartitionCount);
  } catch (error) {
    const fault = engineFault(error);
    if (fault === 'locked') {
      throw new SluiceError('DATA_DIRECTORY_IN_USE', `${directory} is in use by another process`, {
        cause: error,
      });
    }
    if (fault === 'corruption') {
      throw new SluiceError(
        'DATA_LOSS',
        `the database in ${directory} is damaged: ${engineMessage(error)}; restore it from a backup`,
        { cause: error },
      );
    }
    throw unusable(directory, error);
  }
}

async function usable<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw unusable(path, error);
  }
}

function unusable(path: string, error: unknown): SluiceError {
  return new SluiceError('DATA_DIRECTORY_UNUSABLE', `${path} can't be used: ${engineMessage(error)}`, {
    cause: error,
  });
}
