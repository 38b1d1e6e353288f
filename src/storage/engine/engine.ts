import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Batch,
  type ColumnHandle,
  type ColumnOptions,
  type Iterator,
  RocksLevel,
} from '@nxtedition/rocksdb';
import { SluiceError } from '../../base/errors.js';
import { endOnDefect } from '../../base/invariant.js';
import { KiB, MiB } from '../../base/units.js';
import { columnNames } from './columns.js';
import { readFilePart } from './files.js';

/**
 * The key-value store below everything else, and the only file that knows RocksDB. The main thread opens it; the
 * writer thread attaches to the open database by its handle.
 *
 * The options were measured with batches of 16 values of 64 KiB, one for each partition, every batch synced, 2 cores:
 *
 * | partitions' columns     | topics | MB/s | memory   | opened after a kill |
 * | ----------------------- | ------ | ---- | -------- | ------------------- |
 * | default                 | 1      |   91 | 1,660 MB | 17 s                |
 * | default, no compression | 1      |  262 | 1,060 MB | 2.9 s               |
 * | universal, 32 MiB       | 1      |  238 |   360 MB | 0.7 s               |
 * | level, 64 MiB           | 1      |  385 |   610 MB | 1.7 s               |
 * | level, 32 MiB           | 1      |  333 |   360 MB | 0.8 s               |
 * | level, 32 MiB           | 100    |  194 |   370 MB | 0.6 s               |
 * | level, 16 MiB           | 100    |  178 |   220 MB | 0.6 s               |
 *
 * Two limits determine the choice. A column may hold six memtables of a quarter of its budget when flushing lags
 * behind: 384 MiB for all partitions at 16 MiB. RocksDB keeps its log until the column with the oldest unflushed write
 * is flushed, or until the log exceeds four times that, 1.6 GB: the worst case of what an opening has to read. The
 * whole store with 16 MiB, killed after 10 GB were written to 16 partitions of one topic: 163 MB/s, 590 MB of memory at
 * most, 1.4 GB of log, opened in 1.4 s; in 0.1 s after an orderly end.
 *
 * Removed messages (one range deletion for each second and partition) stay on the disk until a compaction. The files on
 * the disk of a broker with 8 partitions after a minute at full speed:
 *
 * | retention                      | RocksDB's default order | by compensated size  |
 * | ------------------------------ | ----------------------- | -------------------- |
 * | 16 MiB a partition             | 225 MiB/s, 1,529 files  | 266 MiB/s, 123 files |
 * | until acknowledged             | 246 MiB/s, 635 files    | 245 MiB/s, 60 files  |
 * | 128 MiB a partition            | 234 MiB/s, 556 files    | 220 MiB/s, 577 files |
 * | none                           | 167 MiB/s               | 177 and 184 MiB/s    |
 *
 * With 1 GiB in a single partition, the speed is 160 MiB/s without retention and 50 to 90 with it, in either order: a
 * deletion makes the newest file overlap all kept files. Each file takes some 10 KB of memory and a file descriptor.
 */
const partitionOptions: ColumnOptions = {
  compaction: 'level',
  memtableMemoryBudget: 16 * MiB,
  // Compacts first what deletions cover. With the default order, removed messages stayed on the disk for minutes.
  compactionPriority: 'byCompensatedSize',
  // Only disables the training of dictionaries: level compaction compresses from its third level on regardless.
  compression: false,
  // Readers read forwards once: the tail and the page cache hold what is read often.
  cacheSize: 0,
  // A block holds many small records. A large record has a block of its own.
  blockSize: 16 * KiB,
};

const smallColumnOptions: ColumnOptions = {
  compaction: 'level',
  memtableMemoryBudget: 4 * MiB,
  compression: false,
  cacheSize: 4 * MiB,
};

/** A block ends with the record that passes its size: a record of the log has about 256 KiB, or one large message. */
const largestBlockBytes = 64 * MiB;

/** Threads that flush and compact. */
const backgroundThreads = 2;

const encodings = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const;

/** From `gte` up to but not including `lt`. */
export interface KeyRange {
  readonly gte: Buffer;
  readonly lt: Buffer;
}

export interface ScanOptions {
  readonly isReverse?: boolean;
  /** Without values, the second element of each entry is undefined. */
  readonly hasValues?: boolean;
  /** `next` stops after the entry that exceeds this. */
  readonly batchBytes?: number;
}

export class Engine {
  /** Empty in the writer thread, which does not read. */
  readonly #directory: string;
  readonly #db: RocksLevel;
  readonly #columns: readonly ColumnHandle[];
  readonly #names: readonly string[];
  #isClosed = false;

  private constructor(db: RocksLevel, names: readonly string[], directory = '') {
    this.#directory = directory;
    this.#db = db;
    this.#names = names;
    this.#columns = names.map((name) => db.columns[name]!);
  }

  /** Opens or creates the database and takes its lock. `engineFault` classifies the error of a rejection. */
  static async open(directory: string, maxPartitionCount: number, mayCreate = true): Promise<Engine> {
    const names = columnNames(maxPartitionCount);
    const columns = Object.fromEntries(
      names.map((name) => [name, name.startsWith('partition-') ? partitionOptions : smallColumnOptions]),
    );
    const db = new RocksLevel(directory, {
      columns,
      createIfMissing: mayCreate,
      parallelism: backgroundThreads,
      walCompression: false,
    });
    await db.open();
    return new Engine(db, names, directory);
  }

  /**
   * Whether a process has the database open. Asks RocksDB for its lock and opens nothing: if a database exists,
   * this open ends right after the lock was taken. It works for any path to the database, and for processes that
   * /proc/locks does not show because they run in another container. The lock is free again afterwards.
   */
  static async isLocked(directory: string): Promise<boolean> {
    // RocksDB would create the file.
    if (!existsSync(join(directory, 'LOCK'))) return false;
    const db = new RocksLevel(directory, { createIfMissing: false, errorIfExists: true });
    try {
      await db.open();
    } catch (error) {
      endOnDefect(error);
      return engineFault(error) === 'locked';
    }
    await db.close();
    return false;
  }

  /** Attaches another thread to the same database, for batches and `clear`. That thread must not close it. */
  static async attach(handle: bigint, names: readonly string[]): Promise<Engine> {
    const db = new RocksLevel(handle);
    await db.open();
    return new Engine(db, names);
  }

  /** For `attach`. */
  get handle(): bigint {
    return this.#db.handle;
  }

  /** The sequence number of the last change. Each put, deletion and cleared range counts as one. */
  get sequence(): number {
    return this.#db.sequence;
  }

  get columnNames(): readonly string[] {
    return this.#names;
  }

  /** Blocks for the read. */
  get(column: number, key: Buffer): Buffer | undefined {
    return this.getMany(column, [key])[0];
  }

  /**
   * Blocks for the reads, and throws if one of them fails. The binding's asynchronous form must not be used: where a value
   * can't be read, it throws in a callback of its own, and its promise never settles.
   */
  getMany(column: number, keys: readonly Buffer[]): (Buffer | undefined)[] {
    this.#checkOpen();
    return this.#db._getManySync(keys, { column: this.#columns[column]!, valueEncoding: 'buffer' });
  }

  /**
   * The bytes of the table block that made a read fail with this error; undefined if the error names no block. The
   * binding can't read without verifying the checksum of the block.
   */
  async readDamagedBlock(error: unknown): Promise<Buffer | undefined> {
    const [, table, offset, size] =
      /block checksum mismatch.*?(\d+\.sst) offset (\d+) size (\d+)/s.exec(engineMessage(error)) ?? [];
    if (table === undefined || Number(size) > largestBlockBytes) return undefined;
    return await readFilePart(join(this.#directory, table), Number(offset), Number(size));
  }

  /** Opens a snapshot. Blocks for one seek. */
  scan(column: number, range: KeyRange, options: ScanOptions = {}): Scan {
    this.#checkOpen();
    return new Scan(
      this.#db.iterator({
        column: this.#columns[column]!,
        ...encodings,
        ...range,
        reverse: options.isReverse ?? false,
        values: options.hasValues ?? true,
        highWaterMarkBytes: options.batchBytes ?? MiB,
      }),
    );
  }

  /** Removes a range of any size by one small write. Not synced. */
  async clear(column: number, range: KeyRange): Promise<void> {
    await this.#db.clear({ column: this.#columns[column]!, keyEncoding: 'buffer', ...range });
  }

  batch(): WriteBatch {
    return new WriteBatch(this.#db._chainedBatch(), this.#columns);
  }

  /** Every scan must be closed, and the writer thread must have ended. Later reads throw STORAGE_FAILED. */
  close(): Promise<void> {
    this.#isClosed = true;
    return this.#db.close();
  }

  /** The binding does not check this for reads by key: they would crash the process. */
  #checkOpen(): void {
    if (this.#isClosed) throw storeClosed();
  }
}

export class Scan {
  readonly #iterator: Iterator;

  constructor(iterator: Iterator) {
    this.#iterator = iterator;
  }

  /** The next entries, at most `maxCount`; none at the end. One call at a time. */
  next(maxCount: number): Promise<[key: Buffer, value: Buffer][]> {
    return this.#iterator.nextv(maxCount);
  }

  /** Continues at the first entry at or above `key` (at or below it, in reverse). Blocks. */
  seek(key: Buffer): void {
    this.#iterator.seek(key, { keyEncoding: 'buffer' });
  }

  /** Waits for a `next` under way. May be called twice. */
  close(): Promise<void> {
    return this.#iterator.close();
  }
}

/** One batch that is reused: its memory grows to the largest round and stays. */
export class WriteBatch {
  readonly #batch: Batch;
  readonly #columns: readonly ColumnHandle[];

  constructor(batch: Batch, columns: readonly ColumnHandle[]) {
    this.#batch = batch;
    this.#columns = columns;
  }

  put(column: number, key: Buffer, value: Buffer): void {
    this.#batch._put(key, value, { column: this.#columns[column]! });
  }

  delete(column: number, key: Buffer): void {
    this.#batch._del(key, { column: this.#columns[column]! });
  }

  /** Writes everything atomically and empties the batch. Blocks the thread, including the sync. */
  write(isSynced: boolean): void {
    this.#batch._writeSync({ sync: isSynced });
    this.#batch._clear();
  }
}

export function storeClosed(): SluiceError {
  return new SluiceError('STORAGE_FAILED', 'the store is closed');
}

/** `io`: the system failed to read or write. */
export type EngineFault = 'locked' | 'corruption' | 'io' | 'other';

/** The meaning of an engine error. The binding wraps the cause of a failed opening. */
export function engineFault(error: unknown): EngineFault {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const code = 'code' in cause ? cause.code : undefined;
    if (code === 'LEVEL_LOCKED') return 'locked';
    if (code === 'LEVEL_CORRUPTION') return 'corruption';
    if (code === 'LEVEL_IO_ERROR') return 'io';
  }
  return 'other';
}

/** The innermost message: the outer message of an opening only says that it failed. */
export function engineMessage(error: unknown): string {
  let message = String(error);
  for (let cause = error; cause instanceof Error; cause = cause.cause) message = cause.message;
  return message;
}

/** The same for clients: with the names of files, without the directories of this machine. */
export function damageMessage(error: unknown): string {
  return engineMessage(error).replace(/\S*\/(?=\d+\.(sst|log|blob))/g, '');
}
