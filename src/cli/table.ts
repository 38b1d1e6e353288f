import type { Duration } from '@bufbuild/protobuf/wkt';

/** A column: its header and alignment. */
export type Column = string | { readonly head: string; readonly align: 'right' };

/** Aligned columns, two spaces apart, with a newline at the end. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly (string | number | bigint)[])[],
): string {
  const heads = columns.map((column) => (typeof column === 'string' ? column : column.head));
  const texts = [heads, ...rows.map((row) => row.map(String))];
  const widths = heads.map((_, i) => Math.max(...texts.map((row) => row[i]?.length ?? 0)));
  return texts
    .map((row) =>
      row
        .map((cell, i) =>
          typeof columns[i] === 'string' ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!),
        )
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

/** A column of numbers. */
export function numeric(head: string): Column {
  return { head, align: 'right' };
}

/** `1234567` as `1,234,567`. */
export function grouped(value: number | bigint): string {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

/** A duration to a tenth of a second: `12.3 s`. */
export function elapsed(duration: Duration | undefined): string {
  if (duration === undefined) return '-';
  return `${(Number(duration.seconds) + duration.nanos / 1e9).toFixed(1)} s`;
}
