import { readFileSync } from 'node:fs';
import { repositoryRoot } from '../support/repository.js';

/** A message of a case, spelled out. */
export interface CaseMessage {
  readonly key: Buffer;
  readonly payload: Buffer;
  readonly headers: Readonly<Record<string, string>>;
  /** RFC 3339. */
  readonly eventTime: string | undefined;
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

/** The cases of `clients/interop/cases.json`, as its README explains them. */
export function readCases(): InteropCase[] {
  const path = `${repositoryRoot}clients/interop/cases.json`;
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
            eventTime,
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
