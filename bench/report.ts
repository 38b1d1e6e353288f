import { cpus, release, totalmem } from 'node:os';
import { MiB } from '../src/base/units.js';
import type { Usage } from './sampler.js';

/** One measurement. */
export interface Row {
  /** `case` or `case/variant`. */
  readonly name: string;
  /** The headline, for people. */
  readonly result: string;
  /** The numbers, for programs: units stand in the names. */
  readonly values: Readonly<Record<string, number>>;
  /** What was counted and compared, after it held. */
  readonly check: string;
  readonly usage?: Usage;
  /** Processor time of the process that made the load: near 1, it is the limit and not the broker. */
  readonly loadCpuShare?: number;
}

export function formatTable(rows: readonly Row[]): string {
  const head = ['case', 'result', 'broker cpu', 'load cpu', 'rss start/peak/end MiB', 'checked'];
  const lines = rows.map(({ name, result, usage, loadCpuShare, check }) => [
    name,
    result,
    percent(usage?.cpuShare),
    percent(loadCpuShare),
    usage === undefined
      ? ''
      : [usage.startRssMiB, usage.peakRssMiB, usage.endRssMiB].map(Math.round).join(' / '),
    check,
  ]);
  return formatCells(head, lines);
}

export function formatCells(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const table = [head, ...lines];
  const widths = head.map((_, column) => Math.max(...table.map((line) => line[column]!.length)));
  const format = (line: readonly string[]) =>
    line
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd();
  return [format(head), widths.map((width) => '-'.repeat(width)).join('  '), ...lines.map(format)].join('\n');
}

/** Processor time of the broker, over all its threads, for a message. */
export function microsPerMessage({ cpuSeconds }: Usage, messageCount: number): number {
  return (cpuSeconds * 1e6) / messageCount;
}

/** What the numbers depend on. */
export function describeMachine() {
  return {
    cpuModel: cpus()[0]?.model ?? '',
    cpuCount: cpus().length,
    memoryMiB: Math.round(totalmem() / MiB),
    kernel: release(),
    node: process.version,
  };
}

export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function percent(share: number | undefined): string {
  return share === undefined ? '' : `${Math.round(share * 100)} %`;
}
