import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { CursorState } from '../base/positions.js';
import { CursorRecordSchema } from '../gen/sluice/storage/v1/records_pb.js';

/** Settled intervals become pairs of gap and length, which are small numbers wherever a partition stands. */
export function encodeCursor(state: CursorState): Uint8Array {
  const settled: bigint[] = [];
  let end = state.acknowledgedOffset;
  for (const { first, last } of state.settled) {
    settled.push(BigInt(first - end), BigInt(last - first + 1));
    end = last + 1;
  }
  return toBinary(
    CursorRecordSchema,
    create(CursorRecordSchema, {
      acknowledgedOffset: BigInt(state.acknowledgedOffset),
      settled,
      failed: state.failed.map(({ offset, attempts }) => ({ offset: BigInt(offset), attempts })),
      deadLetterCount: BigInt(state.deadLetterCount),
    }),
  );
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
