import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { fieldBytes, varintBytes, type WireWriter } from '../wire/writer.js';
import { hashOfKey } from './routing.js';

/** A message for `send`. Text is sent as UTF-8. */
export interface OutgoingMessage {
  /** Messages with equal keys share a partition and keep their order. */
  readonly key?: Uint8Array | string;
  /** The contents. A message has up to 1 MiB, encoded, unless the broker has another `max-message-bytes`. */
  readonly payload?: Uint8Array | string;
  /** The broker reserves names that begin with `sluice-`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The time of the event. The broker does not read it. Use a Timestamp for nanoseconds. */
  readonly eventTime?: Date | Pick<Timestamp, 'seconds' | 'nanos'>;
}

/** Tags of `messages` in a request, of Message, of an entry of its headers, and of Timestamp. */
const messagesTag = 0x7a;
const keyTag = 0x0a;
const payloadTag = 0x12;
const headersTag = 0x1a;
const eventTimeTag = 0x22;
const nameTag = 0x0a;
const valueTag = 0x12;
const secondsTag = 0x08;
const nanosTag = 0x10;

const mostVarintBytes = 10;

/** Measures one message after another, and writes it as a field of a publish request. */
export class MessageEncoder {
  #message: OutgoingMessage = {};
  #keyBytes = 0;
  #payloadBytes = 0;
  #contentBytes = 0;
  #time: { readonly seconds: bigint; readonly nanos: number } | undefined;

  /** Measures a message. Returns its size in a request. */
  measure(message: OutgoingMessage): number {
    const { key, payload, headers, eventTime } = message;
    this.#message = message;
    this.#keyBytes = key === undefined ? 0 : byteLengthOf(key);
    this.#payloadBytes = payload === undefined ? 0 : byteLengthOf(payload);
    this.#time = eventTime instanceof Date ? toTimestamp(eventTime) : eventTime;
    let byteLength = 0;
    if (this.#keyBytes > 0) byteLength += fieldBytes(this.#keyBytes);
    if (this.#payloadBytes > 0) byteLength += fieldBytes(this.#payloadBytes);
    if (headers !== undefined) {
      for (const name in headers) byteLength += fieldBytes(headerBytes(name, headers[name]!));
    }
    if (this.#time !== undefined) byteLength += fieldBytes(timeBytes(this.#time));
    this.#contentBytes = byteLength;
    return fieldBytes(byteLength);
  }

  /** Writes the measured message. Returns the hash of its key, or undefined if it has no key. */
  write(writer: WireWriter): number | undefined {
    const { key, payload, headers } = this.#message;
    let hash: number | undefined;
    writer.byte(messagesTag);
    writer.varint(this.#contentBytes);
    if (this.#keyBytes > 0) {
      writer.content(keyTag, key!, this.#keyBytes);
      hash = hashOfKey(writer.bytes, writer.pos - this.#keyBytes, writer.pos);
    }
    if (this.#payloadBytes > 0) writer.content(payloadTag, payload!, this.#payloadBytes);
    if (headers !== undefined) {
      for (const name in headers) writeHeader(writer, name, headers[name]!);
    }
    if (this.#time !== undefined) writeTime(writer, this.#time);
    this.#message = {};
    return hash;
  }
}

function byteLengthOf(value: Uint8Array | string): number {
  return typeof value === 'string' ? Buffer.byteLength(value) : value.length;
}

function headerBytes(name: string, value: string): number {
  return fieldBytes(Buffer.byteLength(name)) + fieldBytes(Buffer.byteLength(value));
}

function writeHeader(writer: WireWriter, name: string, value: string): void {
  writer.byte(headersTag);
  writer.varint(headerBytes(name, value));
  writer.content(nameTag, name, Buffer.byteLength(name));
  writer.content(valueTag, value, Buffer.byteLength(value));
}

function toTimestamp(date: Date): { seconds: bigint; nanos: number } {
  const ms = date.getTime();
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: (ms - seconds * 1000) * 1_000_000 };
}

function secondsBytes(seconds: bigint): number {
  return seconds < 0n ? mostVarintBytes : varintBytes(Number(seconds));
}

function timeBytes({ seconds, nanos }: { readonly seconds: bigint; readonly nanos: number }): number {
  return 1 + secondsBytes(seconds) + (nanos === 0 ? 0 : 1 + varintBytes(nanos));
}

function writeTime(writer: WireWriter, time: { readonly seconds: bigint; readonly nanos: number }): void {
  writer.byte(eventTimeTag);
  writer.varint(timeBytes(time));
  writer.byte(secondsTag);
  writer.int64(time.seconds);
  writer.number(nanosTag, time.nanos);
}
