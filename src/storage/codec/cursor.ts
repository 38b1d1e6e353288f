import { fromBinary } from '@bufbuild/protobuf';
import type { CursorState, FailedMessage } from '../../base/positions.js';
import { CursorRecordSchema } from '../../gen/sluice/storage/v1/records_pb.js';
import { cursorsColumn } from '../engine/columns.js';
import { cursorKey } from '../engine/keys.js';
import { varintFieldLength, varintLength, writeVarint, writeVarintField } from './varint.js';

export interface CursorUpdate {
  readonly kind: 'cursor';
  readonly subscriptionId: number;
  readonly partition: number;
  /**
   * Called when the commit is built, so that many settlements of one cursor cost one write. The state may already
   * contain later changes: they become durable early, and are answered by their own commit. A change that must not
   * become durable alone is bound to earlier submissions: see submission.ts.
   */
  readonly state: () => CursorState;
}

/** The part of a `ChangeTarget` that takes a cursor. */
interface CursorTarget {
  put(column: number, key: Buffer, value: Uint8Array): void;
}

/** Called once for each cursor, when everything else of the round is laid out. */
export function writeCursor({ subscriptionId, partition, state }: CursorUpdate, target: CursorTarget): void {
  target.put(cursorsColumn, cursorKey(subscriptionId, partition), encodeCursor(state()));
}

/** Number and wire type of the fields of CursorRecord and FailedMessageRecord. */
const tags = {
  acknowledgedOffset: 0x08,
  settled: 0x12,
  failed: 0x1a,
  deadLetterCount: 0x20,
  failedOffset: 0x08,
  failedAttempts: 0x10,
} as const;

/** Settled intervals become pairs of gap and length: small numbers at any offset. */
export function encodeCursor(state: CursorState): Buffer {
  const settledLength = writeSettled(state);
  let length = varintFieldLength(state.acknowledgedOffset) + varintFieldLength(state.deadLetterCount);
  if (settledLength > 0) length += 1 + varintLength(settledLength) + settledLength;
  for (const failed of state.failed) length += 2 + failedLength(failed);

  const bytes = Buffer.allocUnsafe(length);
  let at = writeVarintField(bytes, tags.acknowledgedOffset, state.acknowledgedOffset, 0);
  at = writeVarintField(bytes, tags.settled, settledLength, at);
  at += settledBytes.copy(bytes, at, 0, settledLength);
  for (const failed of state.failed) {
    bytes[at++] = tags.failed;
    bytes[at++] = failedLength(failed);
    at = writeVarintField(bytes, tags.failedOffset, failed.offset, at);
    at = writeVarintField(bytes, tags.failedAttempts, failed.attempts, at);
  }
  writeVarintField(bytes, tags.deadLetterCount, state.deadLetterCount, at);
  return bytes;
}

/** Two numbers: the length is always below 128 bytes, so it takes one byte. */
function failedLength({ offset, attempts }: FailedMessage): number {
  return varintFieldLength(offset) + varintFieldLength(attempts);
}

/** Two numbers of at most eight bytes each. */
const maxIntervalBytes = 16;

/** Reused for each cursor: a cursor with many intervals is encoded with every commit that changes it. */
let settledBytes = Buffer.allocUnsafe(64 * maxIntervalBytes);

/** Writes gaps and lengths into `settledBytes`. Returns how many bytes they take. */
function writeSettled({ acknowledgedOffset, settled }: CursorState): number {
  if (settledBytes.length < settled.length * maxIntervalBytes) {
    settledBytes = Buffer.allocUnsafe(2 * settled.length * maxIntervalBytes);
  }
  let at = 0;
  let end = acknowledgedOffset;
  for (const { first, last } of settled) {
    at = writeVarint(settledBytes, first - end, at);
    at = writeVarint(settledBytes, last - first + 1, at);
    end = last + 1;
  }
  return at;
}

export function decodeCursor(bytes: Uint8Array): CursorState {
  const record = fromBinary(CursorRecordSchema, bytes);
  const settled: { first: number; last: number }[] = [];
  let end = Number(record.acknowledgedOffset);
  for (let index = 0; index + 1 < record.settled.length; index += 2) {
    const first = end + Number(record.settled[index]);
    end = first + Number(record.settled[index + 1]);
    settled.push({ first, last: end - 1 });
  }
  return {
    acknowledgedOffset: Number(record.acknowledgedOffset),
    settled,
    failed: record.failed.map(({ offset, attempts }) => ({ offset: Number(offset), attempts })),
    deadLetterCount: Number(record.deadLetterCount),
  };
}
