import { readLogRecords } from './engine-log.js';

/**
 * RocksDB's MANIFEST: the contents of the database, as a log of edits. Each edit is a list of fields: a tag and a
 * value of variable length. Only the fields that show whether all files exist are kept.
 * https://github.com/facebook/rocksdb/blob/main/db/version_edit.h
 */
export interface Manifest {
  /** Names of the column families by their ids. */
  readonly columns: ReadonlyMap<number, string>;
  readonly tables: ReadonlyMap<number, LiveTable>;
  /** The lowest of the log numbers that the column families note. Each opening raises all of them. */
  readonly logNumberOfColumns: number;
  /** Log files with lower numbers are not needed. A file with this number need not exist. */
  readonly oldestLogNumber: number;
  /** RocksDB can read it to its end, and finds all required fields. */
  readonly isComplete: boolean;
}

/** A file `NNNNNN.sst` that the database needs. */
export interface LiveTable {
  readonly column: number;
  readonly byteLength: number;
  readonly smallestKey: Buffer;
  readonly largestKey: Buffer;
}

const tag = {
  comparator: 1,
  logNumber: 2,
  nextFileNumber: 3,
  lastSequence: 4,
  compactCursor: 5,
  deletedFile: 6,
  prevLogNumber: 9,
  minLogNumberToKeep: 10,
  newFile4: 103,
  columnFamily: 200,
  columnFamilyAdd: 201,
  columnFamilyDrop: 202,
  maxColumnFamily: 203,
  inAtomicGroup: 300,
} as const;

const requiredTags = [tag.logNumber, tag.nextFileNumber, tag.lastSequence];

/** A reader may skip unknown fields with this bit: a length and as many bytes. */
const ignorable = 1 << 13;
const endOfNewFile = 1;
/** Follows the key of a record: its sequence number and kind. */
const internalKeySuffixBytes = 8;

/** Undefined if the bytes are not a manifest that this code can read. */
export function readManifest(bytes: Buffer): Manifest | undefined {
  const columns = new Map<number, string>([[0, 'default']]);
  const logNumbers = new Map<number, number>();
  const tables = new Map<number, LiveTable>();
  let minLogNumber = 0;
  const { records, hasBadFragment } = readLogRecords(bytes, true);
  const seen = new Set<number>();
  for (const record of records) {
    const edit = readEdit(record, seen);
    if (edit === undefined) return undefined;
    const { column } = edit;
    if (edit.addedColumn !== undefined) columns.set(column, edit.addedColumn);
    if (edit.isColumnDropped) columns.delete(column);
    if (edit.logNumber !== undefined) logNumbers.set(column, edit.logNumber);
    minLogNumber = Math.max(minLogNumber, edit.minLogNumber);
    for (const number of edit.deletedTables) tables.delete(number);
    for (const [number, table] of edit.newTables) tables.set(number, { ...table, column });
  }
  const logNumberOfColumns = Math.min(...[...columns.keys()].map((id) => logNumbers.get(id) ?? 0));
  const oldestLogNumber = Math.max(minLogNumber, logNumberOfColumns);
  const isComplete = !hasBadFragment && requiredTags.every((field) => seen.has(field));
  return { columns, tables, logNumberOfColumns, oldestLogNumber, isComplete };
}

interface Edit {
  column: number;
  addedColumn?: string;
  isColumnDropped: boolean;
  logNumber?: number;
  minLogNumber: number;
  readonly deletedTables: number[];
  readonly newTables: [number: number, table: Omit<LiveTable, 'column'>][];
}

function readEdit(record: Buffer, seen: Set<number>): Edit | undefined {
  const reader = new FieldReader(record);
  const edit: Edit = { column: 0, isColumnDropped: false, minLogNumber: 0, deletedTables: [], newTables: [] };
  while (!reader.isAtEnd) {
    const field = reader.number();
    seen.add(field);
    if (!readField(reader, field, edit)) return undefined;
  }
  return reader.hasOverrun ? undefined : edit;
}

/** False for an unknown field. */
function readField(reader: FieldReader, field: number, edit: Edit): boolean {
  switch (field) {
    case tag.columnFamily:
      edit.column = reader.number();
      return true;
    case tag.columnFamilyAdd:
      edit.addedColumn = reader.bytes().toString();
      return true;
    case tag.columnFamilyDrop:
      edit.isColumnDropped = true;
      return true;
    case tag.logNumber:
      edit.logNumber = reader.number();
      return true;
    case tag.minLogNumberToKeep:
      edit.minLogNumber = reader.number();
      return true;
    case tag.deletedFile:
      reader.number();
      edit.deletedTables.push(reader.number());
      return true;
    case tag.newFile4:
      edit.newTables.push(readNewTable(reader));
      return true;
    default:
      return skip(reader, field);
  }
}

function readNewTable(reader: FieldReader): [number, Omit<LiveTable, 'column'>] {
  reader.number();
  const number = reader.number();
  const byteLength = reader.number();
  const smallestKey = userKey(reader.bytes());
  const largestKey = userKey(reader.bytes());
  reader.number();
  reader.number();
  while (!reader.isAtEnd && reader.number() !== endOfNewFile) reader.bytes();
  return [number, { byteLength, smallestKey, largestKey }];
}

function userKey(internalKey: Buffer): Buffer {
  return internalKey.subarray(0, Math.max(0, internalKey.length - internalKeySuffixBytes));
}

/** False for an unknown field. */
function skip(reader: FieldReader, field: number): boolean {
  switch (field) {
    case tag.comparator:
      reader.bytes();
      return true;
    case tag.nextFileNumber:
    case tag.lastSequence:
    case tag.prevLogNumber:
    case tag.maxColumnFamily:
    case tag.inAtomicGroup:
      reader.number();
      return true;
    case tag.compactCursor:
      reader.number();
      reader.bytes();
      return true;
    default:
      if ((field & ignorable) === 0) return false;
      reader.bytes();
      return true;
  }
}

class FieldReader {
  readonly #bytes: Buffer;
  #at = 0;
  hasOverrun = false;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** A number of variable length. */
  number(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) {
        this.hasOverrun = true;
        return value;
      }
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  bytes(): Buffer {
    const length = this.number();
    const from = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) this.hasOverrun = true;
    return this.#bytes.subarray(from, this.#at);
  }
}
