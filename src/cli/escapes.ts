import { type Kind, ValueFault } from '../config/kinds.js';

const byLetter: Readonly<Record<string, string>> = { t: '\t', n: '\n', '0': '\0', '\\': '\\' };
const escapeSequence = /\\(x[0-9a-fA-F]{2}|.|$)/gs;

export const escapesHelp = '\\t, \\n, \\0, \\\\ and \\xHH (a byte) are escapes';

/** The byte or character of an escape, given without its backslash; undefined if there is no such escape. */
export function unescaped(name: string): string | Uint8Array | undefined {
  if (name.length === 3) return Buffer.from(name.slice(1), 'hex');
  return byLetter[name];
}

/** Bytes written as text with escapes; never empty. */
export const escapedBytes: Kind<Uint8Array> = {
  placeholder: '<text>',
  parse(text) {
    if (text === '') throw new ValueFault('something: it is empty');
    const parts: Uint8Array[] = [];
    let from = 0;
    for (const { 0: whole, 1: name = '', index } of text.matchAll(escapeSequence)) {
      const value = unescaped(name);
      if (value === undefined) {
        throw new ValueFault(`a text in which ${escapesHelp}, and a backslash is \\\\: there is no ${whole}`);
      }
      parts.push(Buffer.from(text.slice(from, index)), Buffer.from(value as string));
      from = index + whole.length;
    }
    parts.push(Buffer.from(text.slice(from)));
    return Buffer.concat(parts);
  },
  format(bytes) {
    const text = Buffer.from(bytes).toString('latin1');
    return JSON.stringify(text).replaceAll('\\u0000', '\\0');
  },
};
