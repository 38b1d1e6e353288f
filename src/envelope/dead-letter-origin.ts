import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { messageOf } from './entries.js';
import {
  deadLetterSubscriptionIdField,
  headerNameField,
  headersField,
  headerValueField,
  messagesField,
} from './fields.js';

/**
 * The headers that the broker writes on a dead letter. Producers can't write them: their headers must not begin
 * with `sluice-`.
 */
export const deadLetterHeaders = {
  topic: 'sluice-dead-letter-topic',
  partition: 'sluice-dead-letter-partition',
  offset: 'sluice-dead-letter-offset',
  subscription: 'sluice-dead-letter-subscription',
  attempts: 'sluice-dead-letter-attempts',
  reason: 'sluice-dead-letter-reason',
  time: 'sluice-dead-letter-time',
} as const;

/** The subscription that dead-lettered a message, and the message's place before that. */
export interface DeadLetterOrigin {
  readonly topic: string;
  readonly subscription: string;
  /** Undefined in dead letters that an old broker wrote. */
  readonly subscriptionId: number | undefined;
  readonly partition: number;
  /** When the message was dead-lettered; NaN if the headers do not say. */
  readonly timeMs: number;
}

/** The origin of an encoded `messages` field; undefined if the message is not a dead letter. */
export function originOf(entry: Uint8Array): DeadLetterOrigin | undefined {
  const found = new Map<string, string>();
  const reader = new BinaryReader(entry);
  reader.tag();
  const end = reader.uint32() + reader.pos;
  let subscriptionId: number | undefined;
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    if (field === headersField && wireType === WireType.LengthDelimited) readHeader(reader, found);
    else if (field === deadLetterSubscriptionIdField && wireType === WireType.Varint) {
      subscriptionId = Number(reader.uint64());
    } else reader.skip(wireType, field);
  }
  const topic = found.get(deadLetterHeaders.topic);
  const subscription = found.get(deadLetterHeaders.subscription);
  if (topic === undefined || subscription === undefined) return undefined;
  const partition = Number(found.get(deadLetterHeaders.partition));
  const timeMs = Date.parse(found.get(deadLetterHeaders.time) ?? '');
  return { topic, subscription, subscriptionId, partition, timeMs };
}

/**
 * Reads one entry of the map. A message that was dead-lettered twice has its headers twice: the last ones count.
 */
function readHeader(reader: BinaryReader, headers: Map<string, string>): void {
  const end = reader.uint32() + reader.pos;
  let name = '';
  let value = '';
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    if (field === headerNameField && wireType === WireType.LengthDelimited) name = reader.string();
    else if (field === headerValueField && wireType === WireType.LengthDelimited) value = reader.string();
    else reader.skip(wireType, field);
  }
  headers.set(name, value);
}

/**
 * The `messages` field of the message with these headers and the id of the subscription appended. Appended fields belong to an encoded message,
 * so its own bytes stay as they are. If a header or an id occurs twice, the last one counts.
 */
export function appendOrigin(
  entry: Uint8Array,
  subscriptionId: number,
  headers: Readonly<Record<string, string>>,
): Uint8Array {
  const message = messageOf(entry);
  const writer = new BinaryWriter().raw(message);
  for (const [name, value] of Object.entries(headers)) {
    writer.tag(headersField, WireType.LengthDelimited).fork();
    writer.tag(headerNameField, WireType.LengthDelimited).string(name);
    writer.tag(headerValueField, WireType.LengthDelimited).string(value);
    writer.join();
  }
  writer.tag(deadLetterSubscriptionIdField, WireType.Varint).uint64(subscriptionId);
  return new BinaryWriter().tag(messagesField, WireType.LengthDelimited).bytes(writer.finish()).finish();
}
