import { crc32 } from 'node:zlib';
import type { Clock, Timer } from '../../base/clock.js';
import { SluiceError } from '../../base/errors.js';
import { endOnDefect } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import { readUint64, writeUint64 } from '../engine/bytes.js';
import { readFileIfAny, replaceFile } from '../engine/files.js';
import { listFaults } from './faults.js';

/**
 * A file beside the database that says how far each partition was known to be synced. RocksDB recovers its log up to
 * the first error, and treats the rest as never written. The file shows which synced messages were lost that way.
 * Big-endian:
 *
 *     magic u32 · version u32 · checksum u32 (CRC-32 of what follows) · count u32
 *     for each partition: topic id u32 · partition u16 · end offset u64
 */
const magic = 0x534c5345;
const fileVersion = 1;
const headerBytes = 16;
const entryBytes = 14;

export interface SyncedOffset {
  readonly topicId: number;
  readonly partition: number;
  /** Everything below is synced. */
  readonly endOffset: number;
}

export function encodeSyncedOffsets(offsets: readonly SyncedOffset[]): Buffer {
  const bytes = Buffer.alloc(headerBytes + offsets.length * entryBytes);
  bytes.writeUInt32BE(magic, 0);
  bytes.writeUInt32BE(fileVersion, 4);
  bytes.writeUInt32BE(offsets.length, 12);
  let at = headerBytes;
  for (const { topicId, partition, endOffset } of offsets) {
    at = bytes.writeUInt32BE(topicId, at);
    at = bytes.writeUInt16BE(partition, at);
    at = writeUint64(bytes, endOffset, at);
  }
  bytes.writeUInt32BE(crc32(bytes.subarray(12)), 8);
  return bytes;
}

/** Undefined if the bytes are not what was written. */
export function decodeSyncedOffsets(bytes: Buffer): SyncedOffset[] | undefined {
  if (
    bytes.length < headerBytes ||
    bytes.readUInt32BE(0) !== magic ||
    bytes.readUInt32BE(4) !== fileVersion
  ) {
    return undefined;
  }
  if (bytes.readUInt32BE(8) !== crc32(bytes.subarray(12))) return undefined;
  return Array.from({ length: bytes.readUInt32BE(12) }, (_, index) => {
    const at = headerBytes + index * entryBytes;
    return {
      topicId: bytes.readUInt32BE(at),
      partition: bytes.readUInt16BE(at + 4),
      endOffset: readUint64(bytes, at + 6),
    };
  });
}

/** What the file lists. Empty if there is no file, or if it is damaged. */
export async function readSyncedOffsets(path: string): Promise<SyncedOffset[]> {
  const bytes = await readFileIfAny(path);
  return (bytes && decodeSyncedOffsets(bytes)) ?? [];
}

/**
 * What the file lists as synced and the store does not have: one line for each partition, empty if nothing is
 * missing. `endOffsetOf` returns undefined for a deleted topic.
 */
export async function findMissing(
  path: string,
  endOffsetOf: (topicId: number, partition: number) => number | undefined,
): Promise<string[]> {
  const bytes = await readFileIfAny(path);
  // The store ended before it first wrote the file.
  if (bytes === undefined) return [];
  const offsets = decodeSyncedOffsets(bytes);
  if (offsets === undefined) return [`${path} is damaged: what should be in the store can't be checked`];
  return offsets.flatMap(({ topicId, partition, endOffset }) => {
    const storedEndOffset = endOffsetOf(topicId, partition);
    if (storedEndOffset === undefined || storedEndOffset >= endOffset) return [];
    return [
      `topic ${topicId}, partition ${partition}: offsets ${storedEndOffset} to ${endOffset - 1} were synced and are missing`,
    ];
  });
}

export function syncedDataMissing(missing: readonly string[]): SluiceError {
  return new SluiceError(
    'SYNCED_DATA_MISSING',
    `the store holds less than was synced: ${listFaults(missing)}. Restore it from a backup, or start without what is lost: --accept-data-loss`,
  );
}

export interface SyncedOffsetsServices {
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How far every partition is synced now. */
  readonly collect: () => readonly SyncedOffset[];
  /** The file contains what `collect` last returned. */
  readonly written: () => void;
}

/** Maintains the file: writes it soon after a change, and at the end. */
export class SyncedOffsetsFile {
  readonly #services: SyncedOffsetsServices;
  #timer: Timer | undefined;
  /** The last write: writes follow one another. */
  #writing = Promise.resolve();

  constructor(services: SyncedOffsetsServices) {
    this.#services = services;
  }

  /** Something was synced. A change during a write is noted by the next write. */
  changed(): void {
    this.#timer ??= this.#services.clock.after(limits.syncedOffsetsEveryMs, () => {
      this.#timer = undefined;
      this.#writing = this.#writing.then(() => this.#write());
    });
  }

  /** Writes the file a last time. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    await this.#writing;
    await this.#write();
  }

  /** A failure weakens only the check at the next start: the file then lists less than it could. */
  async #write(): Promise<void> {
    const { path, collect, logger, written } = this.#services;
    try {
      await replaceFile(path, encodeSyncedOffsets(collect()));
      written();
    } catch (error) {
      endOnDefect(error);
      logger.warn({ path, error: String(error) }, 'synced offsets could not be noted');
    }
  }
}
