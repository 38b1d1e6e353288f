import { seal } from '../../../../src/storage/codec/sealed-value.js';
import type { Engine, KeyRange, Scan, ScanOptions } from '../../../../src/storage/engine/engine.js';
import { engineError } from '../log/memory-engine.js';

/** The columns of a store in memory. A read that meets damage fails as a whole, as in the engine. */
export class ColumnsEngine {
  readonly #columns = new Map<number, [Buffer, Buffer][]>();
  /** What a read of one of these columns fails with. */
  readonly failures = new Map<number, Error>();
  /** Every read that contains one of these keys meets damage. */
  readonly damagedKeys: Buffer[] = [];
  /** The bytes of the block that can't be read. */
  block: Buffer | undefined;
  openScans = 0;

  put(column: number, key: Buffer, value: Uint8Array): void {
    const entries = this.#entriesOf(column);
    const at = entries.findIndex((entry) => Buffer.compare(entry[0], key) >= 0);
    entries.splice(at < 0 ? entries.length : at, 0, [key, Buffer.from(value)]);
  }

  /** A small record with its checksum. */
  putSealed(column: number, key: Buffer, value: Uint8Array): void {
    this.put(column, key, seal(key, value));
  }

  remove(column: number, removed: Buffer): void {
    const entries = this.#entriesOf(column);
    entries.splice(
      entries.findIndex(([key]) => key.equals(removed)),
      1,
    );
  }

  keysOf(column: number): Buffer[] {
    return this.#entriesOf(column).map(([key]) => key);
  }

  get engine(): Engine {
    const reads = {
      scan: (column: number, range: KeyRange, options: ScanOptions = {}) =>
        this.#scan(column, range, options),
      get: (column: number, key: Buffer) => this.#get(column, key),
      getMany: (column: number, keys: readonly Buffer[]) => keys.map((key) => this.#get(column, key)),
      readDamagedBlock: async () => this.block,
      clear: async (column: number, { gte, lt }: KeyRange) => {
        const kept = this.#entriesOf(column).filter(
          ([key]) => Buffer.compare(key, gte) < 0 || Buffer.compare(key, lt) >= 0,
        );
        this.#columns.set(column, kept);
      },
    };
    return reads as unknown as Engine;
  }

  #entriesOf(column: number): [Buffer, Buffer][] {
    const entries = this.#columns.get(column) ?? [];
    this.#columns.set(column, entries);
    return entries;
  }

  #get(column: number, wanted: Buffer): Buffer | undefined {
    this.#expectWhole(column, wanted);
    return this.#entriesOf(column).find(([key]) => key.equals(wanted))?.[1];
  }

  #expectWhole(column: number, wanted?: Buffer): void {
    const failure = this.failures.get(column);
    if (failure !== undefined) throw failure;
    if (wanted !== undefined && this.damagedKeys.some((key) => key.equals(wanted)))
      throw engineError('LEVEL_CORRUPTION');
  }

  #scan(column: number, { gte, lt }: KeyRange, { isReverse = false }: ScanOptions): Scan {
    const entries = this.#entriesOf(column).filter(
      ([key]) => Buffer.compare(key, gte) >= 0 && Buffer.compare(key, lt) < 0,
    );
    if (isReverse) entries.reverse();
    this.openScans += 1;
    let at = 0;
    let isOpen = true;
    const next = async (maxCount: number): Promise<[Buffer, Buffer][]> => {
      this.#expectWhole(column);
      const found = entries.slice(at, at + maxCount);
      at += found.length;
      for (const [key] of found) this.#expectWhole(column, key);
      return found;
    };
    const seek = (key: Buffer): void => {
      const found = entries.findIndex((entry) => Buffer.compare(entry[0], key) >= 0);
      at = found < 0 ? entries.length : found;
    };
    const close = async (): Promise<void> => {
      if (isOpen) this.openScans -= 1;
      isOpen = false;
    };
    return { next, seek, close } as unknown as Scan;
  }
}
