import type { Message } from '@sluice/client/api';
import { UsageError } from '../exit.js';

/** The parts of a line: key and payload. */
export interface KeyedLine {
  readonly key: Uint8Array;
  readonly payload: Uint8Array;
}

export type KeyOfLine = (line: Uint8Array) => KeyedLine;

export interface KeyOptions {
  readonly key: string | undefined;
  readonly keySeparator: Uint8Array | string | undefined;
  readonly keyField: number | undefined;
  readonly fieldSeparator: Uint8Array | string;
  readonly keyPrefixLength: number | undefined;
}

const noKey = new Uint8Array();

/** How the key of a line is found. Only one way may be chosen. */
export function keyOfLine(options: KeyOptions): KeyOfLine {
  const { key, keySeparator, keyField, keyPrefixLength } = options;
  const ways = [key, keySeparator, keyField, keyPrefixLength].filter((way) => way !== undefined);
  if (ways.length > 1) {
    throw new UsageError('choose one of --key, --key-separator, --key-field and --key-prefix-length');
  }
  if (key !== undefined) {
    const bytes = Buffer.from(key);
    return (payload) => ({ key: bytes, payload });
  }
  if (keySeparator !== undefined) return separatedBy(bytesOf(keySeparator));
  if (keyField !== undefined) return fieldOf(keyField, bytesOf(options.fieldSeparator));
  if (keyPrefixLength !== undefined) {
    return (payload) => ({ key: payload.subarray(0, bytesOfCharacters(payload, keyPrefixLength)), payload });
  }
  return (payload) => ({ key: noKey, payload });
}

/** The key is before the first separator, the payload behind it. A line without a separator has no key. */
function separatedBy(separator: Buffer): KeyOfLine {
  return (line) => {
    const at = asBuffer(line).indexOf(separator);
    if (at === -1) return { key: noKey, payload: line };
    return { key: line.subarray(0, at), payload: line.subarray(at + separator.length) };
  };
}

/** The key is field `number`, from 1; the payload is the whole line. A line with fewer fields has no key. */
function fieldOf(number: number, separator: Buffer): KeyOfLine {
  return (line) => {
    const buffer = asBuffer(line);
    let from = 0;
    for (let field = 1; field < number; field++) {
      const at = buffer.indexOf(separator, from);
      if (at === -1) return { key: noKey, payload: line };
      from = at + separator.length;
    }
    const end = buffer.indexOf(separator, from);
    return { key: line.subarray(from, end === -1 ? line.length : end), payload: line };
  };
}

/** How many bytes the first `count` characters of UTF-8 take. A byte that begins no character counts as one. */
function bytesOfCharacters(line: Uint8Array, count: number): number {
  let at = 0;
  for (let characters = 0; characters < count && at < line.length; characters++) {
    at++;
    while (at < line.length && (line[at]! & 0xc0) === 0x80) at++;
  }
  return at;
}

/** Creates a message of the API. A plain object, because there are hundreds of thousands of them. */
export function toMessage({ key, payload }: KeyedLine, headers: Record<string, string>): Message {
  return { $typeName: 'sluice.v1.Message', key, payload, headers };
}

function bytesOf(separator: Uint8Array | string): Buffer {
  return typeof separator === 'string' ? Buffer.from(separator) : asBuffer(separator);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
