import { create, toBinary } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { SluiceError, StatusCode } from '../errors.js';
import { ConsumeRequestSchema, type Settlement, SettlementSchema } from '../gen/sluice/v1/broker_pb.js';
import { WireWriter } from '../wire/writer.js';
import type { Range } from './response.js';

/** The outcome of messages. */
export type Outcome =
  | { readonly kind: 'ack' }
  | { readonly kind: 'nack'; readonly delayMs: number | undefined; readonly reason: string }
  | { readonly kind: 'deadLetter'; readonly reason: string }
  | { readonly kind: 'extend'; readonly byMs: number };

/** The maximum length of a reason, in characters. A limit of the broker. */
const maxReasonLength = 1_000;

export function invalidDuration(name: string, ms: number): SluiceError {
  const text = `${name}: ${ms} is no time to wait`;
  return new SluiceError(text, { code: StatusCode.INVALID_ARGUMENT, reason: 'INVALID_FIELD' });
}

export function toSettlement({ partition, first, last }: Range, outcome: Outcome): Settlement {
  const offsets = { partition, firstOffset: BigInt(first), lastOffset: BigInt(last) };
  return create(SettlementSchema, { offsets, outcome: toOutcome(outcome) });
}

function toOutcome(outcome: Outcome): Settlement['outcome'] {
  // `create` adds the message type of the outcome.
  return createOutcome(outcome) as Settlement['outcome'];
}

function createOutcome(outcome: Outcome) {
  switch (outcome.kind) {
    case 'ack':
      return { case: 'ack', value: {} };
    case 'nack': {
      const { delayMs, reason } = outcome;
      const delay = delayMs === undefined ? {} : { delay: durationFromMs(Math.round(delayMs)) };
      return { case: 'nack', value: { reason: reason.slice(0, maxReasonLength), ...delay } };
    }
    case 'deadLetter':
      return { case: 'deadLetter', value: { reason: outcome.reason.slice(0, maxReasonLength) } };
    case 'extend':
      return { case: 'extend', value: { by: durationFromMs(Math.max(1, Math.round(outcome.byMs))) } };
  }
}

/** The id of a request, and the last delivery that it can settle. */
export interface RequestNumbers {
  readonly id: number;
  /** The highest `MessageRun.delivery_id` that was read when the request is made. */
  readonly lastDeliveryId: number;
}

export function encodeSettlements(
  settlements: readonly Settlement[],
  { id, lastDeliveryId }: RequestNumbers,
): Buffer {
  const request = create(ConsumeRequestSchema, {
    settlements: [...settlements],
    settlementId: BigInt(id),
    lastDeliveryId: BigInt(lastDeliveryId),
  });
  return Buffer.from(toBinary(ConsumeRequestSchema, request));
}

/** Tags of ConsumeRequest, Settlement and OffsetRange. */
const settlementsTag = 0x12;
const settlementIdTag = 0x20;
const lastDeliveryIdTag = 0x28;
const offsetsTag = 0x0a;
const ackTag = 0x12;
const partitionTag = 0x08;
const firstOffsetTag = 0x10;
const lastOffsetTag = 0x18;

/** A settlement of one range takes 34 bytes at most: three numbers of up to 9 bytes with their tags, and the frame. */
const mostSettlementBytes = 40;
const mostNumbersBytes = 20;

/** A ConsumeRequest that acknowledges these ranges, encoded by hand, because there can be very many of them. */
export function encodeAcks(ranges: readonly Range[], { id, lastDeliveryId }: RequestNumbers): Buffer {
  const writer = new WireWriter(ranges.length * mostSettlementBytes + mostNumbersBytes);
  for (const { partition, first, last } of ranges) {
    const start = writer.pos;
    // Each length takes one byte, and is known after its content is written.
    writer.moveTo(start + 4);
    writer.number(partitionTag, partition);
    writer.number(firstOffsetTag, first);
    writer.number(lastOffsetTag, last);
    const rangeBytes = writer.pos - start - 4;
    writer.byte(ackTag);
    writer.byte(0);
    const end = writer.pos;
    writer.moveTo(start);
    writer.byte(settlementsTag);
    writer.byte(end - start - 2);
    writer.byte(offsetsTag);
    writer.byte(rangeBytes);
    writer.moveTo(end);
  }
  writer.number(settlementIdTag, id);
  writer.number(lastDeliveryIdTag, lastDeliveryId);
  return writer.view(0);
}
