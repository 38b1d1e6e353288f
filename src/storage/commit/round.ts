import { invariant } from '../../base/invariant.js';
import type { SpareMemory } from '../../base/spare-memory.js';
import { type RecordDraft, recordByteLength, writeRecord } from '../codec/record.js';
import { sealBytes } from '../codec/sealed-value.js';
import type { KeyRange } from '../engine/engine.js';

/**
 * One commit in the form that the writer thread gets: one block of memory, which is transferred without a copy and
 * comes back when it is on disk. Big-endian:
 *
 *     operation count u32
 *     for each operation: kind u8 · column u16 · key length u16 · value length u32 · key · value
 */
const operationKind = {
  /** A put of a small record whose checksum (see sealed-value.ts) the writer thread computes. */
  put: 1,
  delete: 2,
  /** A put of a log record whose checksum the writer thread computes. */
  record: 3,
  /** Removes the range from the key up to the value, after everything else has been written. */
  clear: 4,
  /** Removes the range from the key up to the value, before everything else is written. */
  clearFirst: 5,
} as const;

export interface RoundVisitor {
  /** The last bytes of the value are free for its checksum. */
  put(column: number, key: Buffer, value: Buffer): void;
  delete(column: number, key: Buffer): void;
  record(column: number, key: Buffer, value: Buffer): void;
  clear(column: number, range: KeyRange): void;
  clearFirst(column: number, range: KeyRange): void;
}

interface Operation {
  readonly kind: number;
  readonly column: number;
  readonly key: Buffer;
  readonly value: Uint8Array | RecordDraft;
  readonly valueLength: number;
}

const countBytes = 4;
const operationHeaderBytes = 9;
const nothing = Buffer.alloc(0);

export interface RoundBlock {
  readonly block: ArrayBuffer;
  /** The round fills the beginning of its block. */
  readonly usedBytes: number;
}

export interface BuiltRound extends RoundBlock {
  /** Where the messages of each record begin, in the order of the records. */
  readonly messagesAt: readonly number[];
}

/** Collects operations and lays them out. */
export class RoundBuilder {
  #operations: Operation[] = [];
  #byteLength = countBytes;

  put(column: number, key: Buffer, value: Uint8Array): void {
    this.#add({ kind: operationKind.put, column, key, value, valueLength: value.length + sealBytes });
  }

  delete(column: number, key: Buffer): void {
    this.#add({ kind: operationKind.delete, column, key, value: nothing, valueLength: 0 });
  }

  record(column: number, key: Buffer, draft: RecordDraft): void {
    const valueLength = recordByteLength(draft.outline);
    this.#add({ kind: operationKind.record, column, key, value: draft, valueLength });
  }

  clear(column: number, range: KeyRange): void {
    this.#add({
      kind: operationKind.clear,
      column,
      key: range.gte,
      value: range.lt,
      valueLength: range.lt.length,
    });
  }

  /** Also drops the puts that are in the range so far: the round is written after the range has been cleared. */
  clearFirst(column: number, range: KeyRange): void {
    const isCleared = ({ kind, column: ofColumn, key }: Operation): boolean =>
      kind === operationKind.put && ofColumn === column && isInRange(key, range);
    const cleared = this.#operations.filter(isCleared);
    for (const operation of cleared) this.#byteLength -= byteLengthOf(operation);
    if (cleared.length > 0) this.#operations = this.#operations.filter((each) => !isCleared(each));
    const { gte: key, lt: value } = range;
    this.#add({ kind: operationKind.clearFirst, column, key, value, valueLength: value.length });
  }

  #add(operation: Operation): void {
    this.#operations.push(operation);
    this.#byteLength += byteLengthOf(operation);
  }

  /** Lays the round out in a block of this memory. */
  build(memory: SpareMemory): BuiltRound {
    const block = memory.take(this.#byteLength);
    const target = Buffer.from(block, 0, this.#byteLength);
    const messagesAt: number[] = [];
    let at = target.writeUInt32BE(this.#operations.length, 0);
    for (const { kind, column, key, value, valueLength } of this.#operations) {
      at = target.writeUInt8(kind, at);
      at = target.writeUInt16BE(column, at);
      at = target.writeUInt16BE(key.length, at);
      at = target.writeUInt32BE(valueLength, at);
      target.set(key, at);
      at += key.length;
      if (value instanceof Uint8Array) target.set(value, at);
      else messagesAt.push(writeRecord(value, target, at));
      at += valueLength;
    }
    invariant(at === this.#byteLength, 'a round is not as long as its operations');
    return { block, usedBytes: this.#byteLength, messagesAt };
  }
}

function byteLengthOf({ key, valueLength }: Operation): number {
  return operationHeaderBytes + key.length + valueLength;
}

function isInRange(key: Buffer, { gte, lt }: KeyRange): boolean {
  return key.compare(gte) >= 0 && key.compare(lt) < 0;
}

/** Visits the operations of a round, in order. Keys and values share its memory. */
export function visitRound({ block, usedBytes }: RoundBlock, visitor: RoundVisitor): void {
  const source = Buffer.from(block, 0, usedBytes);
  const count = source.readUInt32BE(0);
  let at = countBytes;
  for (let index = 0; index < count; index++) {
    const kind = source.readUInt8(at);
    const column = source.readUInt16BE(at + 1);
    const keyAt = at + operationHeaderBytes;
    const valueAt = keyAt + source.readUInt16BE(at + 3);
    at = valueAt + source.readUInt32BE(at + 5);
    const key = source.subarray(keyAt, valueAt);
    const value = source.subarray(valueAt, at);
    if (kind === operationKind.record) visitor.record(column, key, value);
    else if (kind === operationKind.put) visitor.put(column, key, value);
    else if (kind === operationKind.delete) visitor.delete(column, key);
    else if (kind === operationKind.clear) visitor.clear(column, { gte: key, lt: value });
    else if (kind === operationKind.clearFirst) visitor.clearFirst(column, { gte: key, lt: value });
    else invariant(false, `a round has an operation of kind ${kind}`);
  }
  invariant(at === source.length, 'a round is longer than its operations');
}
