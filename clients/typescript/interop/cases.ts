import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** As seen from compiled code in dist/clients/typescript/interop. */
const defaultPath = fileURLToPath(new URL('../../../../clients/interop/cases.json', import.meta.url));

/** A message of a case, spelled out. */
export interface CaseMessage {
  readonly key: Buffer;
  readonly payload: Buffer;
  readonly headers: Readonly<Record<string, string>>;
  readonly eventTime: { readonly seconds: bigint; readonly nanos: number } | undefined;
}

export interface InteropCase {
  readonly name: string;
  readonly partitionCount: number;
  readonly messages: readonly CaseMessage[];
}

type Bytes =
  | { readonly text: string }
  | { readonly base64: string }
  | { readonly repeat: Bytes; readonly count: number };

interface CaseText {
  readonly name: string;
  readonly partitionCount: number;
  readonly messages?: readonly {
    readonly key?: Bytes;
    readonly payload?: Bytes;
    readonly headers?: Record<string, string>;
    readonly eventTime?: string;
  }[];
  readonly sequence?: { readonly count: number; readonly keys: number; readonly payloadBytes: number };
}

export function readCase(name: string, path?: string): InteropCase {
  const found = readCases(path).find((each) => each.name === name);
  if (found === undefined) throw new Error(`there is no case "${name}"`);
  return found;
}

/** The cases of `clients/interop/cases.json`, as its README explains them. */
export function readCases(path = defaultPath): InteropCase[] {
  const { cases } = JSON.parse(readFileSync(path, 'utf8')) as { cases: CaseText[] };
  return cases.map(({ name, partitionCount, messages = [], sequence }) => ({
    name,
    partitionCount,
    messages:
      sequence === undefined
        ? messages.map(({ key, payload, headers = {}, eventTime }) => ({
            key: toBytes(key),
            payload: toBytes(payload),
            headers,
            eventTime: eventTime === undefined ? undefined : toTime(eventTime),
          }))
        : Array.from({ length: sequence.count }, (_, i) => ({
            key: Buffer.from(`key-${i % sequence.keys}`),
            payload: Buffer.from(String(i).padStart(sequence.payloadBytes, '0')),
            headers: { index: String(i) },
            eventTime: undefined,
          })),
  }));
}

function toBytes(bytes: Bytes | undefined): Buffer {
  if (bytes === undefined) return Buffer.alloc(0);
  if ('text' in bytes) return Buffer.from(bytes.text);
  if ('base64' in bytes) return Buffer.from(bytes.base64, 'base64');
  const piece = toBytes(bytes.repeat);
  return Buffer.concat(Array.from({ length: bytes.count }, () => piece));
}

/** Of RFC 3339 in UTC, to the nanosecond. */
function toTime(text: string): { readonly seconds: bigint; readonly nanos: number } {
  const [, second, fraction = ''] = /^(.{19})(?:\.(\d{1,9}))?Z$/.exec(text) ?? [];
  if (second === undefined) throw new Error(`not a time in UTC: ${text}`);
  return { seconds: BigInt(Date.parse(`${second}Z`) / 1000), nanos: Number(fraction.padEnd(9, '0')) };
}
