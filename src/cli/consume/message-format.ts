import { isUtf8 } from 'node:buffer';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { Message, MessageRun } from '@sluice/client/api';
import { type Kind, ValueFault } from '../../config/kinds.js';
import { escapesHelp, unescaped } from '../escapes.js';

/** A message, and the facts about the run that it was in. */
export interface Received {
  readonly topic: string;
  readonly run: MessageRun;
  /** The publish time of the run, in ISO 8601; empty if it has none. */
  readonly publishTime: string;
  readonly message: Message;
  readonly offset: bigint;
}

/** The bytes to print for a message, in parts, with the newline at the end. */
export type MessageFormat = (received: Received) => readonly (string | Uint8Array)[];

const fields: Readonly<Record<string, (received: Received) => string | Uint8Array>> = {
  topic: ({ topic }) => topic,
  partition: ({ run }) => String(run.partition),
  offset: ({ offset }) => String(offset),
  attempt: ({ run }) => String(run.attempt),
  time: ({ publishTime }) => publishTime,
  producer: ({ run }) => run.producerId,
  key: ({ message }) => message.key,
  payload: ({ message }) => message.payload,
  headers: ({ message }) => JSON.stringify(message.headers),
};

export const formatHelp =
  'A format is payload, json, or a text with {topic}, {partition}, {offset}, {key}, {payload}, {attempt}, {time}, ' +
  '{producer}, {headers} or {header:NAME} in it; ' +
  `${escapesHelp}, and so are \\{ and \\} for braces. ` +
  'Keys and payloads ' +
  'are printed byte for byte. In json, one object a line, a key or payload that is not valid UTF-8 is given ' +
  'in base64 as keyBase64 or payloadBase64 instead of key or payload.';

/** `payload`, `json`, or a template with fields in braces. */
export const messageFormat: Kind<MessageFormat> = {
  placeholder: '<format>',
  parse(text) {
    if (text === 'payload') return ({ message }) => [message.payload, '\n'];
    if (text === 'json') return (received) => [`${JSON.stringify(toJsonObject(received))}\n`];
    if (!text.includes('{')) {
      throw new ValueFault("payload, json, or a text with fields such as '{partition}:{offset} {payload}'");
    }
    return compileTemplate(text);
  },
  format: () => 'payload',
};

function compileTemplate(template: string): MessageFormat {
  const parts: (string | ((received: Received) => string | Uint8Array))[] = [];
  // A field, an escape, other text, a brace without a field, or a backslash at the end.
  for (const match of template.matchAll(/\{([^{}]*)\}|\\x[0-9a-f]{2}|\\.|[^{}\\]+|./gis)) {
    const [token, field] = match;
    const place = `at character ${[...template.slice(0, match.index)].length + 1}`;
    if (field !== undefined) parts.push(fieldNamed(field, place));
    else if (token === '{' || token === '}') {
      const other = token === '{' ? 'no } behind it' : 'no { before it';
      throw new ValueFault(
        `a text with whole fields: the ${token} ${place} has ${other}; write \\${token} for the brace itself`,
      );
    } else parts.push(literal(token));
  }
  return (received) => [...parts.map((part) => (typeof part === 'string' ? part : part(received))), '\n'];
}

function fieldNamed(name: string, place: string): (received: Received) => string | Uint8Array {
  const header = name.startsWith('header:') ? name.slice('header:'.length) : '';
  if (header !== '') return ({ message }) => message.headers[header] ?? '';
  const read = Object.hasOwn(fields, name) ? fields[name] : undefined;
  if (read === undefined) throw new ValueFault(`made of fields that exist: {${name}} ${place} does not`);
  return read;
}

/** A text, or the bytes of an escape. A backslash before any other character is literal. */
function literal(token: string): string | (() => Uint8Array) {
  if (!token.startsWith('\\')) return token;
  if (token === '\\{' || token === '\\}') return token.slice(1);
  const value = unescaped(token.slice(1)) ?? token;
  return typeof value === 'string' ? value : () => value;
}

function toJsonObject({ topic, run, publishTime, message, offset }: Received): object {
  const { headers, eventTime } = message;
  return {
    topic,
    partition: run.partition,
    // Exact: the broker keeps offsets below 2^53.
    offset: Number(offset),
    publishTime,
    ...(run.attempt > 0 && { attempt: run.attempt }),
    ...(run.producerId !== '' && { producerId: run.producerId }),
    ...(eventTime !== undefined && { eventTime: timestampDate(eventTime).toISOString() }),
    ...(message.key.length > 0 && textOrBase64('key', message.key)),
    ...textOrBase64('payload', message.payload),
    ...(Object.keys(headers).length > 0 && { headers }),
  };
}

function textOrBase64(name: string, bytes: Uint8Array): Record<string, string> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(buffer)
    ? { [name]: buffer.toString('utf8') }
    : { [`${name}Base64`]: buffer.toString('base64') };
}

/** Formats up to `limit` messages of a run. Returns how many there were, and their text. */
export function formatRun(
  format: MessageFormat,
  topic: string,
  run: MessageRun,
  limit: number,
): { readonly count: number; readonly text: Buffer } {
  const count = Math.min(limit, run.messages.length);
  const publishTime = run.publishTime === undefined ? '' : timestampDate(run.publishTime).toISOString();
  const chunks: Uint8Array[] = [];
  let pending = '';
  for (let i = 0; i < count; i++) {
    const received = {
      topic,
      run,
      publishTime,
      message: run.messages[i]!,
      offset: run.firstOffset + BigInt(i),
    };
    for (const part of format(received)) {
      if (typeof part === 'string') pending += part;
      else {
        if (pending !== '') chunks.push(Buffer.from(pending));
        pending = '';
        chunks.push(part);
      }
    }
  }
  if (pending !== '') chunks.push(Buffer.from(pending));
  return { count, text: Buffer.concat(chunks) };
}
