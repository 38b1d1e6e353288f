import { isUtf8 } from 'node:buffer';
import { SluiceError } from '../base/errors.js';
import {
  eventTimeTag,
  headerNameTag,
  headersTag,
  headerValueTag,
  keyTag,
  lastBrokerField,
  lastHeaderField,
  lastMessageField,
  lastTimestampField,
  nanosTag,
  payloadTag,
  secondsTag,
} from './fields.js';
import { unknownField } from './unknown-field.js';
import { type WireCursor, WireFault } from './wire-cursor.js';

/** The range of google.protobuf.Timestamp: years 1 to 9999. */
const minSeconds = -62_135_596_800;
const maxSeconds = 253_402_300_799;
const maxNanos = 999_999_999;

const reservedPrefix = Buffer.from('sluice-');

/** The range of the key of the message that was scanned last. */
export interface KeyBounds {
  keyStart: number;
  keyEnd: number;
}

/**
 * Checks one encoded Message from the cursor to `end`, so that a decoder of any language can read it later. Throws
 * WireFault for wrong encoding and SluiceError for wrong content, both without the index of the message, which the
 * caller adds.
 */
export function scanMessage(cursor: WireCursor, end: number, maxKeyBytes: number, key: KeyBounds): void {
  key.keyStart = cursor.pos;
  key.keyEnd = cursor.pos;
  while (cursor.pos < end) {
    const tag = cursor.tag(end);
    switch (tag) {
      case payloadTag:
        cursor.pos = cursor.fieldEnd(end);
        break;
      case keyTag: {
        const fieldEnd = cursor.fieldEnd(end);
        if (fieldEnd - cursor.pos > maxKeyBytes) {
          const text = `takes ${fieldEnd - cursor.pos} bytes, and a key may take ${maxKeyBytes}`;
          throw new SluiceError('INVALID_FIELD', text, { field: 'key' });
        }
        // If a field occurs twice, the last one counts.
        key.keyStart = cursor.pos;
        key.keyEnd = fieldEnd;
        cursor.pos = fieldEnd;
        break;
      }
      case headersTag:
        scanHeader(cursor, cursor.fieldEnd(end));
        break;
      case eventTimeTag:
        scanEventTime(cursor, cursor.fieldEnd(end));
        break;
      default:
        skipUnknown(cursor, tag, end, lastMessageField);
        if (tag >>> 3 <= lastBrokerField) throw unknownField('sluice.v1.Message', tag >>> 3, '');
    }
  }
}

function scanHeader(cursor: WireCursor, end: number): void {
  while (cursor.pos < end) {
    const tag = cursor.tag(end);
    if (tag === headerNameTag) {
      const fieldEnd = cursor.fieldEnd(end);
      expectUtf8(cursor.bytes, cursor.pos, fieldEnd, 'the name of a header');
      if (startsWithReserved(cursor.bytes, cursor.pos, fieldEnd)) {
        const name = Buffer.from(cursor.bytes.subarray(cursor.pos, fieldEnd)).toString();
        const text = `the name ${JSON.stringify(name)} begins with "sluice-", which only the broker uses`;
        throw new SluiceError('RESERVED_HEADER', text, { field: 'headers' });
      }
      cursor.pos = fieldEnd;
    } else if (tag === headerValueTag) {
      const fieldEnd = cursor.fieldEnd(end);
      expectUtf8(cursor.bytes, cursor.pos, fieldEnd, 'the value of a header');
      cursor.pos = fieldEnd;
    } else skipUnknown(cursor, tag, end, lastHeaderField);
  }
}

/** Message fields that occur twice are merged: if each is in range, so is the result. */
function scanEventTime(cursor: WireCursor, end: number): void {
  while (cursor.pos < end) {
    const tag = cursor.tag(end);
    if (tag === secondsTag) {
      cursor.varint64(end);
      const seconds = (cursor.high | 0) * 2 ** 32 + cursor.low;
      if (seconds < minSeconds || seconds > maxSeconds) {
        throw new SluiceError('INVALID_FIELD', 'is not in the years 1 to 9999', { field: 'event_time' });
      }
    } else if (tag === nanosTag) {
      cursor.varint64(end);
      // Every decoder takes the lower 32 bits of an int32.
      const nanos = cursor.low | 0;
      if (nanos < 0 || nanos > maxNanos) {
        throw new SluiceError('INVALID_FIELD', `has ${nanos} nanoseconds`, { field: 'event_time' });
      }
    } else skipUnknown(cursor, tag, end, lastTimestampField);
  }
}

/** Refuses an unknown field: only the messages of a request are kept. */
export function refuseUnknown(
  cursor: WireCursor,
  tag: number,
  end: number,
  lastKnownField: number,
  type: { readonly name: string; readonly path: string },
): never {
  skipUnknown(cursor, tag, end, lastKnownField);
  throw unknownField(type.name, tag >>> 3, type.path);
}

/** A known field that arrives here has the wrong wire type. */
export function skipUnknown(cursor: WireCursor, tag: number, end: number, lastKnownField: number): void {
  const field = tag >>> 3;
  if (field >= 1 && field <= lastKnownField) {
    throw new WireFault(`field ${field} has wire type ${tag & 7}`);
  }
  cursor.skip(tag, end);
}

/** Nearly all text is short ASCII: checked without a call to native code. */
export function expectUtf8(bytes: Uint8Array, start: number, end: number, what: string): void {
  for (let i = start; i < end; i++) {
    if (bytes[i]! < 0x80) continue;
    if (!isUtf8(bytes.subarray(i, end))) throw new WireFault(`${what} is not valid UTF-8`);
    return;
  }
}

function startsWithReserved(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < reservedPrefix.length) return false;
  for (let i = 0; i < reservedPrefix.length; i++) {
    if (bytes[start + i] !== reservedPrefix[i]) return false;
  }
  return true;
}
