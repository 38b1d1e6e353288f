import { readFile } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { readUint64, writeUint64 } from '../engine/bytes.js';
import { overwriteFile, readFileIfAny, replaceFile } from '../engine/files.js';

/**
 * The note of the last round: a small file beside the database that says how far the database must reach. RocksDB
 * recovers its log up to the first error, and treats the rest as never written. The note shows whether acknowledged data
 * was lost that way: messages, cursors, producers, or the catalog.
 *
 * The writer thread overwrites the note after each round and before the round is answered:
 *
 *     write the round (and sync it) → overwrite the note → receipts
 *
 * The note itself is synced only at intervals. It is exact after a kill of the process. After a loss of power it may be
 * some rounds behind, but never ahead of what was synced. Rounds that were written without a sync count only until the
 * next boot of the machine.
 *
 * One sector, big-endian:
 *
 *     magic u32 · version u32 · checksum u32 (CRC-32 of what follows) · store id 16 bytes ·
 *     round u64 · written sequence u64 · synced sequence u64 · boot id 16 bytes, zero if there is none ·
 *     first log number u64 · log number of the columns u64
 */
export const roundNoteName = 'last-round';

const magic = 0x534c5244;
const fileVersion = 1;
const noteBytes = 84;
const checkedFrom = 12;

export interface RoundNote {
  /** Hexadecimal, of the store. */
  readonly storeId: string;
  /** Rounds since the store was created. */
  readonly round: number;
  /** The database's sequence number behind the last round that was written. */
  readonly writtenSequence: number;
  /** Behind the last round that was synced. */
  readonly syncedSequence: number;
  /** The boot id of the system at the time of writing, hexadecimal; empty if the system has none. */
  readonly bootId: string;
  /** The write-ahead log file that was created when the store was last opened. */
  readonly firstLogNumber: number;
  /** The lowest log number that a column family noted at that time: see manifest.ts. */
  readonly columnsLogNumber: number;
}

export function encodeRoundNote(note: RoundNote): Buffer {
  const bytes = Buffer.alloc(noteBytes);
  bytes.writeUInt32BE(magic, 0);
  bytes.writeUInt32BE(fileVersion, 4);
  bytes.write(note.storeId, 12, 16, 'hex');
  writeUint64(bytes, note.round, 28);
  writeUint64(bytes, note.writtenSequence, 36);
  writeUint64(bytes, note.syncedSequence, 44);
  bytes.write(note.bootId, 52, 16, 'hex');
  writeUint64(bytes, note.firstLogNumber, 68);
  writeUint64(bytes, note.columnsLogNumber, 76);
  sealNote(bytes);
  return bytes;
}

function sealNote(bytes: Buffer): void {
  bytes.writeUInt32BE(crc32(bytes.subarray(checkedFrom)), 8);
}

/** Changes the note in place for another round. */
export function noteRound(bytes: Buffer, round: number, sequence: number, isSynced: boolean): void {
  writeUint64(bytes, round, 28);
  writeUint64(bytes, sequence, 36);
  if (isSynced) writeUint64(bytes, sequence, 44);
  sealNote(bytes);
}

/** Undefined if the bytes are not what was written. */
export function decodeRoundNote(bytes: Buffer): RoundNote | undefined {
  if (
    bytes.length !== noteBytes ||
    bytes.readUInt32BE(0) !== magic ||
    bytes.readUInt32BE(4) !== fileVersion
  ) {
    return undefined;
  }
  if (bytes.readUInt32BE(8) !== crc32(bytes.subarray(checkedFrom))) return undefined;
  const bootId = bytes.toString('hex', 52, 68);
  return {
    storeId: bytes.toString('hex', 12, 28),
    round: readUint64(bytes, 28),
    writtenSequence: readUint64(bytes, 36),
    syncedSequence: readUint64(bytes, 44),
    bootId: /^0*$/.test(bootId) ? '' : bootId,
    firstLogNumber: readUint64(bytes, 68),
    columnsLogNumber: readUint64(bytes, 76),
  };
}

export async function writeRoundNote(path: string, note: RoundNote): Promise<void> {
  await replaceFile(path, encodeRoundNote(note));
}

/**
 * Raises the note if the write-ahead log contains more, as after a loss of power: the database must reach it.
 * `sync` syncs the log first, because its end may only be in the page cache.
 */
export async function raiseRoundNote(
  path: string,
  sequence: number,
  sync: () => Promise<void>,
): Promise<void> {
  const bytes = await readFileIfAny(path);
  const note = bytes === undefined ? undefined : decodeRoundNote(bytes);
  if (note === undefined || note.syncedSequence >= sequence) return;
  const writtenSequence = Math.max(note.writtenSequence, sequence);
  await sync();
  // In place: one sector, and the same file, which a writer may have open.
  await overwriteFile(path, encodeRoundNote({ ...note, syncedSequence: sequence, writtenSequence }));
}

/** The id of the current boot of the system. Empty if the system has none. */
export async function readBootId(): Promise<string> {
  try {
    const text = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    return text.trim().replaceAll('-', '');
  } catch {
    // Not Linux: only synced rounds are checked.
    return '';
  }
}

export interface DatabaseEnd {
  readonly storeId: string;
  readonly sequence: number;
  readonly bootId: string;
}

export interface CheckedNote {
  /** The last noted round; 0 if unknown. */
  readonly round: number;
  /** Missing parts of the database, one line for each, for people. Empty if nothing is missing. */
  readonly missing: readonly string[];
}

/** Compares the note with the opened database. */
export async function checkRoundNote(path: string, database: DatabaseEnd): Promise<CheckedNote> {
  const bytes = await readFileIfAny(path);
  if (bytes === undefined) return unchecked(`${path} is missing`);
  const note = decodeRoundNote(bytes);
  if (note === undefined) return unchecked(`${path} is damaged`);
  if (note.storeId !== database.storeId) return unchecked(`${path} is of another store than the database`);
  const isSameBoot = note.bootId !== '' && note.bootId === database.bootId;
  const expected = isSameBoot ? note.writtenSequence : note.syncedSequence;
  if (database.sequence >= expected) return { round: note.round, missing: [] };
  const line = `the database ends ${expected - database.sequence} changes before round ${note.round}, which was written: at change ${database.sequence} of ${expected}`;
  return { round: note.round, missing: [line] };
}

function unchecked(why: string): CheckedNote {
  return { round: 0, missing: [`${why}: what should be in the store can't be checked`] };
}
