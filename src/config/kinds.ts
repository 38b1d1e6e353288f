import { dayMs, GiB, hourMs, KiB, MiB, minuteMs, secondMs } from '../base/units.js';

/** The syntax of one kind of value: on the command line, in the environment, in a file. */
export interface Kind<T> {
  /** The placeholder of the value in help texts: `<size>`. */
  readonly placeholder: string;
  /** Throws a ValueFault that completes "… must be". */
  parse(text: string): T;
  format(value: T): string;
}

/** Why a text is not a value of its kind, completing "… must be". */
export class ValueFault extends Error {
  override readonly name = 'ValueFault';
}

export interface Range {
  readonly min?: number;
  readonly max?: number;
}

const byteUnits: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kib: KiB,
  mib: MiB,
  gib: GiB,
  tib: 1024 * GiB,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
};

/** A size: `64MiB`, `1.5GiB`, `500kB`, or a plain number of bytes. */
export function bytes(range: Range = {}): Kind<number> {
  return {
    placeholder: '<size>',
    parse(text) {
      const match = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text);
      const unit = byteUnits[match?.[2]?.toLowerCase() ?? ''];
      if (match === null || unit === undefined) throw new ValueFault('a size such as 64MiB');
      return inRange(Math.round(Number(match[1]) * unit), range, (bound) =>
        bound % KiB === 0 ? formatBytes(bound) : `${bound} bytes`,
      );
    },
    format: formatBytes,
  };
}

const durationUnits: Readonly<Record<string, number>> = {
  ms: 1,
  s: secondMs,
  m: minuteMs,
  h: hourMs,
  d: dayMs,
};

/** A duration in milliseconds: `250ms`, `30s`, `1h30m`, `7d`. A number without a unit is refused, except 0. */
export function duration(range: Range = {}): Kind<number> {
  return {
    placeholder: '<duration>',
    parse(text) {
      if (!/^(0|(\d+(\.\d+)?(ms|s|m|h|d))+)$/.test(text)) {
        throw new ValueFault('a duration with its unit, such as 500ms, 30s or 2h');
      }
      let sumMs = 0;
      for (const [, value, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
        sumMs += Number(value) * durationUnits[unit!]!;
      }
      return inRange(Math.round(sumMs), range, formatDuration);
    },
    format: formatDuration,
  };
}

/** A whole number. */
export function count(range: Range = {}): Kind<number> {
  return {
    placeholder: '<n>',
    parse(text) {
      const value = Number(text);
      if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) throw new ValueFault('a whole number');
      return inRange(value, range, String);
    },
    format: String,
  };
}

export function choice<const T extends string>(values: readonly T[]): Kind<T> {
  return {
    placeholder: `<${values.join('|')}>`,
    parse(text) {
      const value = values.find((candidate) => candidate === text);
      if (value === undefined) throw new ValueFault(`one of ${values.join(', ')}`);
      return value;
    },
    format: (value) => value,
  };
}

export const truth: Kind<boolean> = {
  placeholder: '<true|false>',
  parse(text) {
    if (text !== 'true' && text !== 'false') throw new ValueFault('true or false');
    return text === 'true';
  },
  format: String,
};

export function text(placeholder: string): Kind<string> {
  return {
    placeholder,
    parse(value) {
      if (value === '') throw new ValueFault('something: it is empty');
      return value;
    },
    format: (value) => value,
  };
}

/** Where to listen or connect: `127.0.0.1:7070`, `[::1]:7070`, `broker.internal:7070`, `unix:/run/sluice.sock`. */
export const address: Kind<string> = {
  placeholder: '<host:port>',
  parse(value) {
    if (/^unix:.+$/.test(value)) return value;
    const match = /^(\[[0-9a-f:.]+\]|[^\s:/[\]]+):(\d{1,5})$/i.exec(value);
    if (match === null || Number(match[2]) > 65_535) {
      throw new ValueFault('host:port, such as 127.0.0.1:7070 or [::1]:7070, or unix:<path>');
    }
    return value;
  },
  format: (value) => value,
};

/** A value of this kind, or `none`, which becomes the empty text. */
export function optional(kind: Kind<string>): Kind<string> {
  return {
    placeholder: kind.placeholder,
    parse: (value) => (value === 'none' ? '' : kind.parse(value)),
    format: (value) => (value === '' ? 'none' : kind.format(value)),
  };
}

/** Uses the largest unit that gives at most two decimals. */
export function formatBytes(value: number): string {
  const units: [string, number][] = [
    ['TiB', 1024 * GiB],
    ['GiB', GiB],
    ['MiB', MiB],
    ['KiB', KiB],
  ];
  const [unit, size] = units.find(([, size]) => value >= size) ?? ['B', 1];
  return `${Number((value / size).toFixed(2))}${unit}`;
}

export function formatDuration(valueMs: number): string {
  if (valueMs === 0) return '0';
  const unit = ['d', 'h', 'm', 's'].find((name) => valueMs % durationUnits[name]! === 0) ?? 'ms';
  return `${Number((valueMs / durationUnits[unit]!).toFixed(3))}${unit}`;
}

function inRange(value: number, { min = 0, max }: Range, format: (value: number) => string): number {
  if (value < min) throw new ValueFault(`at least ${format(min)}`);
  if (max !== undefined && value > max) throw new ValueFault(`at most ${format(max)}`);
  return value;
}
