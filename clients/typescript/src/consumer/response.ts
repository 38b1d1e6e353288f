import { fromBinary } from '@bufbuild/protobuf';
import {
  ConsumeResponse_SettledSchema,
  type SessionOpened,
  SessionOpenedSchema,
} from '../gen/sluice/v1/broker_pb.js';
import { OffsetRangeSchema } from '../gen/sluice/v1/message_pb.js';
import { WireReader } from '../wire/reader.js';

/** Offsets of one partition, both ends included. */
export interface Range {
  readonly partition: number;
  readonly first: number;
  readonly last: number;
}

/** Messages of one partition at consecutive offsets, still encoded. */
export interface Run {
  readonly partition: number;
  readonly firstOffset: number;
  readonly publishTimeMs: number;
  readonly producerId: string;
  readonly attempt: number;
  /** Increases with each delivery of a session. */
  readonly deliveryId: number;
  /** The encoded messages: message `i` is from `bounds[2 * i]` to `bounds[2 * i + 1]`. */
  readonly bytes: Buffer;
  readonly bounds: readonly number[];
}

/** The parts of a ConsumeResponse that a consumer needs. */
export interface Response {
  readonly opened: SessionOpened | undefined;
  readonly revoked: readonly Range[];
  readonly settled: { readonly id: number; readonly stale: readonly Range[] } | undefined;
  readonly runs: readonly Run[];
}

/** Tags of ConsumeResponse, and of MessageRun with the Timestamp in it. */
const openedTag = 0x0a;
const runsTag = 0x12;
const settledTag = 0x2a;
const revokedTag = 0x32;
const partitionTag = 0x08;
const firstOffsetTag = 0x10;
const publishTimeTag = 0x1a;
const producerIdTag = 0x22;
const attemptTag = 0x28;
const deliveryIdTag = 0x30;
const messagesTag = 0x7a;
const secondsTag = 0x08;
const nanosTag = 0x10;

/** Decodes a ConsumeResponse without its messages, whose bounds it records. */
export function readResponse(bytes: Buffer): Response {
  const reader = new WireReader();
  reader.bytes = bytes;
  let opened: SessionOpened | undefined;
  let settled: Response['settled'];
  const revoked: Range[] = [];
  const runs: Run[] = [];
  while (reader.pos < bytes.length) {
    const tag = reader.varint();
    if (tag === runsTag) runs.push(readRun(reader));
    else if (tag === settledTag) settled = readSettled(part(reader));
    else if (tag === revokedTag) revoked.push(toRange(fromBinary(OffsetRangeSchema, part(reader))));
    else if (tag === openedTag) opened = fromBinary(SessionOpenedSchema, part(reader));
    else reader.skip(tag);
  }
  return { opened, revoked, settled, runs };
}

function part(reader: WireReader): Buffer {
  const end = reader.fieldEnd();
  const bytes = reader.bytes.subarray(reader.pos, end);
  reader.pos = end;
  return bytes;
}

function readRun(reader: WireReader): Run {
  const end = reader.fieldEnd();
  const bounds: number[] = [];
  const run = { partition: 0, firstOffset: 0, publishTimeMs: 0, producerId: '', attempt: 0, deliveryId: 0 };
  while (reader.pos < end) {
    const tag = reader.varint();
    switch (tag) {
      case messagesTag: {
        const messageEnd = reader.fieldEnd();
        bounds.push(reader.pos, messageEnd);
        reader.pos = messageEnd;
        break;
      }
      case partitionTag:
        run.partition = reader.varint();
        break;
      case firstOffsetTag:
        run.firstOffset = reader.varint();
        break;
      case publishTimeTag:
        run.publishTimeMs = readTimeMs(reader);
        break;
      case producerIdTag:
        run.producerId = part(reader).toString();
        break;
      case attemptTag:
        run.attempt = reader.varint();
        break;
      case deliveryIdTag:
        run.deliveryId = reader.varint();
        break;
      default:
        reader.skip(tag);
    }
  }
  return { ...run, bytes: reader.bytes, bounds };
}

/** The times of the broker are after 1970. */
function readTimeMs(reader: WireReader): number {
  const end = reader.fieldEnd();
  let ms = 0;
  while (reader.pos < end) {
    const tag = reader.varint();
    if (tag === secondsTag) ms += reader.varint() * 1000;
    else if (tag === nanosTag) ms += Math.floor(reader.varint() / 1e6);
    else reader.skip(tag);
  }
  return ms;
}

function readSettled(bytes: Buffer): NonNullable<Response['settled']> {
  const { settlementId, result } = fromBinary(ConsumeResponse_SettledSchema, bytes);
  return { id: Number(settlementId), stale: (result?.stale ?? []).map(toRange) };
}

interface OffsetRange {
  readonly partition: number;
  readonly firstOffset: bigint;
  readonly lastOffset: bigint;
}

function toRange({ partition, firstOffset, lastOffset }: OffsetRange): Range {
  return { partition, first: Number(firstOffset), last: Number(lastOffset) };
}

/** Whether an offset lies in one of the ranges. */
export function isIn(ranges: readonly Range[], partition: number, offset: number): boolean {
  return ranges.some(
    (range) => range.partition === partition && range.first <= offset && offset <= range.last,
  );
}
