import { SluiceError } from '../../../../src/base/errors.js';
import { MiB } from '../../../../src/base/units.js';
import { emptyExtent } from '../../../../src/storage/codec/extent.js';
import { recordByteLength, sealRecord, writeRecord } from '../../../../src/storage/codec/record.js';
import type { Engine, KeyRange, Scan, ScanOptions } from '../../../../src/storage/engine/engine.js';
import { lastOffsetOfLogKey, logKey } from '../../../../src/storage/engine/keys.js';
import { PartitionLog } from '../../../../src/storage/log/partition-log.js';
import { entry } from '../../../integration/storage/harness.js';

export const topicId = 7;
export const partition = 2;
/** Of one message of a record, as long as its offset has one digit. */
export const messageBytes = entry('m0').length;

/** An error as the engine throws it. */
export function engineError(code: string, message = 'it broke'): Error {
  return Object.assign(new Error(message), { code });
}

/** A record with one message for each offset. Returns its key and value. */
export function record(
  firstOffset: number,
  count: number,
  options: { partition?: number; timeMs?: number; position?: number } = {},
): [Buffer, Buffer] {
  const messages = Array.from({ length: count }, (_, index) => entry(`m${firstOffset + index}`));
  const run = {
    producerId: '',
    targetSubscriptionId: 0,
    count,
    byteLength: messages.reduce((bytes, { length }) => bytes + length, 0),
  };
  const outline = {
    partition: options.partition ?? partition,
    firstOffset,
    count,
    publishTimeMs: options.timeMs ?? 1_000,
    position: options.position ?? 0,
    runs: [run],
  };
  const value = Buffer.alloc(recordByteLength(outline));
  writeRecord({ outline, chunks: messages }, value, 0);
  const key = logKey(topicId, firstOffset + count - 1);
  sealRecord(key, value);
  return [key, value];
}

/** The records of one partition in memory, read as the engine reads them: a read that meets damage fails as a whole. */
export class MemoryEngine {
  readonly #entries: [Buffer, Buffer][] = [];
  /** Last offsets of records whose block can't be read. */
  readonly damaged = new Set<number>();
  /** The bytes of the block that can't be read; undefined if the error names none. */
  block: Buffer | undefined;
  /** Thrown by the next reads, one each. */
  readonly failures: Error[] = [];
  /** Every scan meets damage at once, as with a damaged block at the beginning of a table. */
  scansFail = false;
  /** Every read by key meets damage. */
  keysFail = false;
  openScans = 0;
  scanCount = 0;

  put(...entries: [Buffer, Buffer][]): void {
    for (const added of entries) {
      const at = this.#entries.findIndex(([key]) => Buffer.compare(key, added[0]) >= 0);
      const isReplaced = at >= 0 && this.#entries[at]![0].equals(added[0]);
      this.#entries.splice(at < 0 ? this.#entries.length : at, isReplaced ? 1 : 0, added);
    }
  }

  /** Changes a bit of every value. */
  flip(): void {
    for (const [, value] of this.#entries) value[0] = value[0]! ^ 1;
  }

  remove(lastOffset: number): void {
    const at = this.#entries.findIndex(([key]) => lastOffsetOfLogKey(key) === lastOffset);
    this.#entries.splice(at, 1);
  }

  get engine(): Engine {
    const reads = {
      scan: (_column: number, range: KeyRange, options?: ScanOptions) => this.#scan(range, options),
      get: (_column: number, key: Buffer) => this.#get(key),
      getMany: (_column: number, keys: readonly Buffer[]) => keys.map((key) => this.#get(key)),
      readDamagedBlock: async () => this.block,
    };
    return reads as unknown as Engine;
  }

  #get(wanted: Buffer): Buffer | undefined {
    if (this.keysFail) throw engineError('LEVEL_CORRUPTION');
    const found = this.#entries.find(([key]) => key.equals(wanted));
    if (found !== undefined) this.#expectWhole(found[0]);
    return found?.[1];
  }

  #expectWhole(key: Buffer): void {
    if (this.damaged.size > 0 && this.damaged.has(lastOffsetOfLogKey(key)))
      throw engineError('LEVEL_CORRUPTION');
  }

  #scan({ gte, lt }: KeyRange, { batchBytes = MiB, isReverse = false }: ScanOptions = {}): Scan {
    const entries = this.#entries.filter(
      ([key]) => Buffer.compare(key, gte) >= 0 && Buffer.compare(key, lt) < 0,
    );
    if (isReverse) entries.reverse();
    this.openScans += 1;
    this.scanCount += 1;
    let isOpen = true;
    const next = async (maxCount: number): Promise<[Buffer, Buffer][]> => {
      const failure = this.failures.shift();
      if (failure !== undefined) throw failure;
      if (this.scansFail) throw engineError('LEVEL_CORRUPTION');
      const found: [Buffer, Buffer][] = [];
      let bytes = 0;
      while (entries.length > 0 && found.length < maxCount && bytes < batchBytes) {
        this.#expectWhole(entries[0]![0]);
        const [key, value] = entries.shift()!;
        found.push([key, value]);
        bytes += value.length;
      }
      return found;
    };
    const close = async (): Promise<void> => {
      if (isOpen) this.openScans -= 1;
      isOpen = false;
    };
    return { next, close } as unknown as Scan;
  }
}

/** A partition whose records are all on the disk, none in the tail. */
export function logUpTo(endOffset: number, endPosition = 0): PartitionLog {
  return new PartitionLog(topicId, partition, { ...emptyExtent, endOffset, endPosition });
}

/** For `assert.rejects`: this reason, these lost offsets, this cause. */
export function lost(first: number, last: number, why: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof SluiceError &&
    error.reason === 'DATA_LOSS' &&
    error.details.metadata?.firstOffset === String(first) &&
    error.details.metadata.lastOffset === String(last) &&
    why.test(error.message);
}

export function refused(reason: string, text = /./): (error: unknown) => boolean {
  return (error) => error instanceof SluiceError && error.reason === reason && text.test(error.message);
}

/** A block of a table, as RocksDB writes it, where every entry shares nothing with the one before. */
export function blockOf(...entries: [Buffer, Buffer][]): Buffer {
  const parts: Buffer[] = [];
  const starts: number[] = [];
  for (const [key, value] of entries) {
    starts.push(parts.reduce((bytes, { length }) => bytes + length, 0));
    parts.push(
      Buffer.of(0, key.length + 8, 0x80 | (value.length & 0x7f), value.length >> 7),
      key,
      Buffer.alloc(8),
      value,
    );
  }
  const trailer = Buffer.alloc(4 * starts.length + 4);
  for (const [i, start] of [...starts, starts.length].entries()) trailer.writeUInt32LE(start, 4 * i);
  return Buffer.concat([...parts, trailer]);
}
