/** The parts of the binding that the engine uses. It has no types of its own. */
declare module '@nxtedition/rocksdb' {
  export type ColumnHandle = { readonly __column: unique symbol };

  export interface ColumnOptions {
    readonly compaction?: 'level' | 'universal';
    readonly compactionPriority?: 'byCompensatedSize';
    readonly memtableMemoryBudget?: number;
    readonly compression?: boolean;
    readonly cacheSize?: number;
    readonly blockSize?: number;
  }

  export interface OpenOptions {
    readonly columns?: Readonly<Record<string, ColumnOptions>>;
    readonly createIfMissing?: boolean;
    readonly errorIfExists?: boolean;
    readonly parallelism?: number;
    readonly walCompression?: boolean;
  }

  export interface RangeOptions {
    readonly column: ColumnHandle;
    readonly keyEncoding: 'buffer';
    readonly gte: Buffer;
    readonly lt: Buffer;
  }

  export interface IteratorOptions extends RangeOptions {
    readonly valueEncoding: 'buffer';
    readonly values: boolean;
    readonly reverse: boolean;
    readonly highWaterMarkBytes: number;
  }

  export interface Iterator {
    nextv(size: number): Promise<[Buffer, Buffer][]>;
    seek(target: Buffer, options: { readonly keyEncoding: 'buffer' }): void;
    close(): Promise<void>;
  }

  export interface Batch {
    _put(key: Buffer, value: Buffer, options: { readonly column: ColumnHandle }): void;
    _del(key: Buffer, options: { readonly column: ColumnHandle }): void;
    _clear(): void;
    _writeSync(options: { readonly sync: boolean }): void;
  }

  export class RocksLevel {
    constructor(locationOrHandle: string | bigint, options?: OpenOptions);
    readonly handle: bigint;
    readonly sequence: number;
    readonly columns: Readonly<Record<string, ColumnHandle>>;
    open(): Promise<void>;
    close(): Promise<void>;
    _getManySync(
      keys: readonly Buffer[],
      options: { readonly column: ColumnHandle; readonly valueEncoding: 'buffer' },
    ): (Buffer | undefined)[];
    clear(options: RangeOptions): Promise<void>;
    iterator(options: IteratorOptions): Iterator;
    _chainedBatch(): Batch;
  }
}
