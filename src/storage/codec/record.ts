import { crc32 } from 'node:zlib';
import { invariant } from '../../base/invariant.js';
import { asBuffer, readUint64, writeUint64 } from '../engine/bytes.js';
import { lastOffsetOfLogKey } from '../engine/keys.js';
import { Run, type RunHeader } from './run.js';

/**
 * A log record: the messages of one commit for one partition, or a part of them. Big-endian:
 *
 *     checksum u32       CRC-32 of the key, then of everything behind the checksum
 *     version u8         1
 *     zero u8
 *     partition u16
 *     count u32          messages
 *     run count u32
 *     first offset u64
 *     publish time u64   of all its messages
 *     position u64       bytes of all messages of the partition before this record
 *     for each run:      count u32 · byte length u32 · target subscription id u32, 0 for all ·
 *                        length of producer id u16 · producer id
 *     for each run:      its messages, byte for byte as they were published
 */
const recordVersion = 1;
const checksumBytes = 4;
const headerBytes = 40;
const runHeaderBytes = 14;

export interface RecordHeader {
  readonly partition: number;
  readonly firstOffset: number;
  /** Messages, at least 1. */
  readonly count: number;
  readonly publishTimeMs: number;
  readonly position: number;
}

/** A record without its messages. */
export interface RecordOutline extends RecordHeader {
  readonly runs: readonly RunHeader[];
}

/** A record on its way into a round. */
export interface RecordDraft {
  readonly outline: RecordOutline;
  /** The messages of all runs, one run behind the other, in whole entries. */
  readonly chunks: readonly Uint8Array[];
}

export interface LogRecord extends RecordHeader {
  readonly lastOffset: number;
  readonly runs: readonly Run[];
}

/** The bytes of a record are not the bytes that were written. */
export class DamagedRecord extends Error {
  override readonly name = 'DamagedRecord';
}

export function recordByteLength({ runs }: RecordOutline): number {
  return runs.reduce(
    (length, run) => length + runHeaderBytes + Buffer.byteLength(run.producerId) + run.byteLength,
    headerBytes,
  );
}

/** Writes the record without its checksum. Returns where the messages begin. */
export function writeRecord({ outline, chunks }: RecordDraft, target: Buffer, at: number): number {
  at = target.writeUInt32BE(0, at);
  at = target.writeUInt8(recordVersion, at);
  at = target.writeUInt8(0, at);
  at = target.writeUInt16BE(outline.partition, at);
  at = target.writeUInt32BE(outline.count, at);
  at = target.writeUInt32BE(outline.runs.length, at);
  at = writeUint64(target, outline.firstOffset, at);
  at = writeUint64(target, outline.publishTimeMs, at);
  at = writeUint64(target, outline.position, at);
  for (const run of outline.runs) {
    const idLength = target.write(run.producerId, at + runHeaderBytes);
    at = target.writeUInt32BE(run.count, at);
    at = target.writeUInt32BE(run.byteLength, at);
    at = target.writeUInt32BE(run.targetSubscriptionId, at);
    at = target.writeUInt16BE(idLength, at) + idLength;
  }
  const messagesAt = at;
  for (const chunk of chunks) {
    target.set(chunk, at);
    at += chunk.length;
  }
  const end = outline.runs.reduce((sum, run) => sum + run.byteLength, messagesAt);
  invariant(at === end, `the chunks of a record have ${at - end} bytes more than its runs say`);
  return messagesAt;
}

function checksum(key: Uint8Array, value: Uint8Array): number {
  return crc32(value.subarray(checksumBytes), crc32(key));
}

/** Writes the checksum of an otherwise complete record. */
export function sealRecord(key: Buffer, value: Buffer): void {
  value.writeUInt32BE(checksum(key, value), 0);
}

/** The last offset of the record, which its key must contain; undefined if the value can't be a record. */
export function lastOffsetOfRecord(value: Buffer): number | undefined {
  if (value.length < headerBytes) return undefined;
  const lastOffset = readUint64(value, 16) + value.readUInt32BE(8) - 1;
  return Number.isSafeInteger(lastOffset) && lastOffset >= 0 ? lastOffset : undefined;
}

/**
 * The record. Its runs share the memory of `bytes`. Throws DamagedRecord unless key and value are exactly what was
 * written for this partition.
 */
export function readRecord(keyBytes: Uint8Array, bytes: Uint8Array, partition: number): LogRecord {
  const key = asBuffer(keyBytes);
  const value = asBuffer(bytes);
  if (value.length < headerBytes) throw new DamagedRecord('it is shorter than its header');
  if (value.readUInt32BE(0) !== checksum(key, value)) throw new DamagedRecord('its checksum does not match');
  const version = value.readUInt8(4);
  if (version !== recordVersion) throw new DamagedRecord(`its version ${version} is unknown`);
  if (value.readUInt16BE(6) !== partition) throw new DamagedRecord('it belongs to another partition');

  const count = value.readUInt32BE(8);
  const runCount = value.readUInt32BE(12);
  const firstOffset = readUint64(value, 16);
  const publishTimeMs = readUint64(value, 24);
  const position = readUint64(value, 32);
  const lastOffset = lastOffsetOfLogKey(key);

  let at = headerBytes;
  const headers: RunHeader[] = [];
  for (let index = 0; index < runCount; index++) {
    const idAt = at + runHeaderBytes;
    const idEnd = idAt + value.readUInt16BE(at + 12);
    headers.push({
      count: value.readUInt32BE(at),
      byteLength: value.readUInt32BE(at + 4),
      targetSubscriptionId: value.readUInt32BE(at + 8),
      producerId: idEnd === idAt ? '' : value.toString('utf8', idAt, idEnd),
    });
    at = idEnd;
  }
  let offset = firstOffset;
  const runs = headers.map((header) => {
    const run = new Run(partition, offset, publishTimeMs, header, value.subarray(at, at + header.byteLength));
    offset += header.count;
    at += header.byteLength;
    return run;
  });
  if (at !== value.length || offset !== firstOffset + count || offset !== lastOffset + 1) {
    throw new DamagedRecord('its parts contradict each other');
  }
  return { partition, firstOffset, count, publishTimeMs, position, lastOffset, runs };
}
