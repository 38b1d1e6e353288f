import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type Message, MessageSchema } from '../gen/sluice/v1/message_pb.js';

/** A message to be sent. Text is sent as UTF-8. */
export interface OutgoingMessage {
  /** Messages with equal keys share a partition and keep their order. */
  readonly key?: Uint8Array | string;
  readonly payload?: Uint8Array | string;
  /** Names that begin with `sluice-` are the broker's own. */
  readonly headers?: Readonly<Record<string, string>>;
  /** When the event happened; the broker does not read it. */
  readonly eventTime?: Date;
}

const encoder = new TextEncoder();

export function toMessage({ key, payload, headers, eventTime }: OutgoingMessage): Message {
  return create(MessageSchema, {
    ...(key !== undefined && { key: toBytes(key) }),
    ...(payload !== undefined && { payload: toBytes(payload) }),
    ...(headers !== undefined && { headers: { ...headers } }),
    ...(eventTime !== undefined && { eventTime: timestampFromDate(eventTime) }),
  });
}

/** About what it takes, encoded: for batches and buffers. The broker measures for itself. */
export function estimateBytes({ key, payload, headers }: Message): number {
  let bytes = 24 + key.length + payload.length;
  for (const [name, value] of Object.entries(headers)) bytes += 8 + name.length + value.length;
  return bytes;
}

function toBytes(value: Uint8Array | string): Uint8Array<ArrayBuffer> {
  return (typeof value === 'string' ? encoder.encode(value) : value) as Uint8Array<ArrayBuffer>;
}
