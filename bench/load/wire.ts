import { fromBinary } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import {
  ConsumeResponse_SettledSchema,
  type SessionOpened,
  SessionOpenedSchema,
} from '../../src/gen/sluice/v1/broker_pb.js';

/**
 * Reading straight from the wire what a load generator needs of the most frequent messages: decoding them in
 * full would make it, and not the broker, the slower side.
 */

export interface ReceiptView {
  readonly batchId: number;
  readonly messageCount: number;
  /** The batch was refused. */
  readonly hasError: boolean;
}

/** A PublishStreamResponse. */
export function readReceipt(bytes: Uint8Array): ReceiptView {
  const reader = new BinaryReader(bytes);
  let batchId = 0;
  let messageCount = 0;
  let hasError = false;
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) batchId = reader.uint32();
    else if (field === 3) messageCount = reader.uint32();
    else {
      hasError ||= field === 2;
      reader.skip(type, field);
    }
  }
  return { batchId, messageCount, hasError };
}

export interface RunView {
  readonly partition: number;
  readonly firstOffset: number;
  readonly count: number;
  /** The encoded messages, with tags and lengths, as the producer sent them. */
  readonly messages: Uint8Array;
}

/** Tag of field 15, length-delimited: a message in a run. */
const messageTag = (15 << 3) | WireType.LengthDelimited;

export interface DeliveryView {
  readonly runs: readonly RunView[];
  /** Settlements that are durable now (ConsumeResponse only). */
  readonly settledIds: readonly number[];
  /** Set in the first response. */
  readonly opened: SessionOpened | undefined;
}

/** A SubscribeResponse or a ConsumeResponse: fields that both have, have the same number. */
export function readDelivery(response: Uint8Array): DeliveryView {
  const reader = new BinaryReader(response);
  const runs: RunView[] = [];
  const settledIds: number[] = [];
  let opened: SessionOpened | undefined;
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) opened = fromBinary(SessionOpenedSchema, reader.bytes());
    else if (field === 2) runs.push(readRun(reader.bytes()));
    else if (field === 5) {
      const settled = fromBinary(ConsumeResponse_SettledSchema, reader.bytes());
      if (settled.result?.stale.length !== 0) throw new Error('a settlement was stale');
      settledIds.push(Number(settled.settlementId));
    } else reader.skip(type, field);
  }
  return { runs, settledIds, opened };
}

function readRun(bytes: Uint8Array): RunView {
  const reader = new BinaryReader(bytes);
  let partition = 0;
  let firstOffset = 0;
  while (reader.pos < reader.len && bytes[reader.pos] !== messageTag) {
    const [field, type] = reader.tag();
    if (field === 1) partition = reader.uint32();
    else if (field === 2) firstOffset = Number(reader.uint64());
    else reader.skip(type, field);
  }
  const messages = bytes.subarray(reader.pos);
  return { partition, firstOffset, count: countMessages(messages), messages };
}

/** Counts messages that stand one behind the other; anything else between or behind them is a fault. */
function countMessages(bytes: Uint8Array): number {
  let count = 0;
  let at = 0;
  while (at < bytes.byteLength) {
    if (bytes[at] !== messageTag) throw new Error(`field tag ${bytes[at]} among the messages of a run`);
    at += 1;
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at]!;
      at += 1;
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    at += length;
    count += 1;
  }
  if (at !== bytes.byteLength) throw new Error('the last message of a run is cut off');
  return count;
}
