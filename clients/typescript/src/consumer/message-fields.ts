import { create } from '@bufbuild/protobuf';
import { type Timestamp, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { WireReader } from '../wire/reader.js';

/** The fields of a message that its producer sets. */
export interface MessageFields {
  readonly key: Buffer;
  readonly payload: Buffer;
  readonly headers: Readonly<Record<string, string>>;
  readonly eventTimestamp: Timestamp | undefined;
}

/** Tags of Message, of an entry of its headers, and of Timestamp. */
const keyTag = 0x0a;
const payloadTag = 0x12;
const headersTag = 0x1a;
const eventTimeTag = 0x22;
const nameTag = 0x0a;
const valueTag = 0x12;
const secondsTag = 0x08;
const nanosTag = 0x10;

const none = Buffer.alloc(0);
const reader = new WireReader();

/** Decodes one Message. Key and payload are views of `bytes`. */
export function readMessage(bytes: Buffer, start: number, end: number): MessageFields {
  let key: Buffer = none;
  let payload: Buffer = none;
  const headers: Record<string, string> = {};
  let eventTimestamp: Timestamp | undefined;
  reader.bytes = bytes;
  reader.pos = start;
  while (reader.pos < end) {
    const tag = reader.varint();
    if (tag === keyTag) key = readBytes();
    else if (tag === payloadTag) payload = readBytes();
    else if (tag === headersTag) readHeader(headers);
    else if (tag === eventTimeTag) eventTimestamp = readTimestamp();
    else reader.skip(tag);
  }
  reader.bytes = none;
  return { key, payload, headers, eventTimestamp };
}

function readBytes(): Buffer {
  const end = reader.fieldEnd();
  const value = reader.bytes.subarray(reader.pos, end);
  reader.pos = end;
  return value;
}

function readText(): string {
  const end = reader.fieldEnd();
  const value = reader.bytes.toString('utf8', reader.pos, end);
  reader.pos = end;
  return value;
}

function readHeader(headers: Record<string, string>): void {
  const end = reader.fieldEnd();
  let name = '';
  let value = '';
  while (reader.pos < end) {
    const tag = reader.varint();
    if (tag === nameTag) name = readText();
    else if (tag === valueTag) value = readText();
    else reader.skip(tag);
  }
  if (name !== '__proto__') headers[name] = value;
  else Object.defineProperty(headers, name, { value, enumerable: true, writable: true, configurable: true });
}

function readTimestamp(): Timestamp {
  const end = reader.fieldEnd();
  const time = create(TimestampSchema);
  while (reader.pos < end) {
    const tag = reader.varint();
    if (tag === secondsTag) time.seconds = reader.int64();
    else if (tag === nanosTag) time.nanos = Number(reader.int64());
    else reader.skip(tag);
  }
  return time;
}
