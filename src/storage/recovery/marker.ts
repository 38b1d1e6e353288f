import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { SluiceError } from '../../base/errors.js';
import { replaceFile } from '../engine/files.js';

/** The file that marks a data directory of Sluice and its format. JSON, so that people can read it. */
export const markerName = 'sluice.json';

/**
 * The format increases when older versions can't read what newer ones write.
 *
 * | format | since                                                                                               |
 * | ------ | --------------------------------------------------------------------------------------------------- |
 * | 1      | the first                                                                                           |
 * | 2      | checksums in all small records and in the marker, the store's id, the note of the last round        |
 */
export const currentFormat = 2;

export interface Marker {
  readonly format: number;
  /** Column families for partitions in the database. */
  readonly maxPartitionCount: number;
  /**
   * The same id is in the database and in the note of the last round, so that files of two stores are never mixed.
   */
  readonly storeId: string;
  /** The format that the database is being migrated from; absent when the migration is finished. */
  readonly migratingFrom?: number;
}

/** Throws DATA_DIRECTORY_NEWER, _FOREIGN or DATA_LOSS. */
export function parseMarker(directory: string, bytes: Buffer): Marker {
  const path = join(directory, markerName);
  const parsed = parseObject(bytes);
  const { format, maxPartitionCount, storeId = '', migratingFrom } = parsed ?? {};
  if (!isWhole(format) || !isWhole(maxPartitionCount)) {
    throw new SluiceError(
      'DATA_DIRECTORY_FOREIGN',
      `${path} was not written by Sluice, or is damaged: restore it from a backup`,
    );
  }
  // Before the checksum: the other fields of a newer version are unknown.
  if (format > currentFormat) {
    throw new SluiceError(
      'DATA_DIRECTORY_NEWER',
      `${directory} has format ${format}, this version knows formats up to ${currentFormat}: use a newer version`,
    );
  }
  const marker: Marker = {
    format,
    maxPartitionCount,
    storeId: String(storeId),
    ...(isWhole(migratingFrom) ? { migratingFrom } : {}),
  };
  const isOfFirstFormat = format === 1 && Object.keys(parsed!).length === 2;
  if (!isOfFirstFormat && parsed!.checksum !== checksum(marker)) {
    throw new SluiceError(
      'DATA_LOSS',
      `${path} is damaged: its checksum does not match; restore it from a backup`,
    );
  }
  return marker;
}

export async function writeMarker(directory: string, marker: Marker): Promise<void> {
  const text = JSON.stringify({ ...marker, checksum: checksum(marker) }, undefined, 2);
  await replaceFile(join(directory, markerName), `${text}\n`);
}

/** The checksum of the values: the layout of the text does not matter. */
function checksum({ format, maxPartitionCount, storeId, migratingFrom = 0 }: Marker): string {
  const values = JSON.stringify([format, maxPartitionCount, storeId, migratingFrom]);
  return crc32(values).toString(16).padStart(8, '0');
}

/** Undefined if the bytes are not a JSON object. */
export function parseObject(bytes: Buffer): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(bytes.toString());
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : undefined;
  } catch {
    // Not JSON: not a marker of Sluice.
    return undefined;
  }
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
