import { formatCells, type Row } from '../report.js';
import {
  type Better,
  type Pair,
  type PairedRatio,
  pairedRatio,
  type Verdict,
  verdictOf,
} from './paired-ratio.js';

/** One number of a row that is compared. */
interface Metric {
  readonly value: string;
  /** What stands behind the row's name, where a row has several. */
  readonly label: string;
  readonly better: Better;
  readonly digits: number;
}

const metrics: readonly Metric[] = [
  { value: 'messagesPerSecond', label: 'messages/s', better: 'higher', digits: 0 },
  { value: 'p50Ms', label: 'p50 ms', better: 'lower', digits: 2 },
  { value: 'p99Ms', label: 'p99 ms', better: 'lower', digits: 2 },
];

/** The load generator's own lateness: a property of the machine, not of the broker. */
const isOfLoadGenerator = (name: string) => name.endsWith('/generator-lateness');

export interface Comparison {
  readonly name: string;
  readonly metric: string;
  readonly better: Better;
  readonly digits: number;
  readonly pairs: Pair[];
  /** Processor time of the broker for a message, in the same runs. */
  readonly microsPairs: Pair[];
  /** Most resident memory of the broker, in the same runs. */
  readonly memoryPairs: Pair[];
}

/** Stands beside the compared number, and is no part of the verdict. */
interface Beside {
  readonly tree: number;
  readonly base: number;
  readonly ratio: PairedRatio;
}

export interface Result extends Omit<Comparison, 'digits'> {
  readonly ratio: PairedRatio;
  readonly verdict: Verdict;
  readonly medianTree: number;
  readonly medianBase: number;
  readonly micros: Beside | undefined;
  readonly memoryMiB: Beside | undefined;
}

/** Gathers the pairs of all cases. */
export class Comparisons {
  readonly #comparisons = new Map<string, Comparison>();

  /** Two runs of one case, of the tree and of the base. */
  add(treeRows: readonly Row[], baseRows: readonly Row[]): void {
    const base = new Map(baseRows.map((row) => [row.name, row]));
    for (const row of treeRows) {
      const other = base.get(row.name);
      if (other === undefined) throw new Error(`the base has no row ${row.name}`);
      if (!isOfLoadGenerator(row.name)) this.#addRow(row, other);
    }
  }

  #addRow(tree: Row, base: Row): void {
    for (const metric of metrics) {
      const { value, label, better, digits } = metric;
      const pair = pairOf(tree, base, value);
      if (pair === undefined) continue;
      const key = `${tree.name} ${label}`;
      let comparison = this.#comparisons.get(key);
      if (comparison === undefined) {
        comparison = {
          name: tree.name,
          metric: label,
          better,
          digits,
          pairs: [],
          microsPairs: [],
          memoryPairs: [],
        };
        this.#comparisons.set(key, comparison);
      }
      comparison.pairs.push(pair);
      const micros = pairOf(tree, base, 'brokerMicrosPerMessage');
      if (micros !== undefined) comparison.microsPairs.push(micros);
      if (tree.usage !== undefined && base.usage !== undefined) {
        comparison.memoryPairs.push({ tree: tree.usage.peakRssMiB, base: base.usage.peakRssMiB });
      }
    }
  }

  results(): readonly Result[] {
    return Array.from(this.#comparisons.values(), resultOf);
  }

  table(): string {
    const beside = ['broker µs each', 'ratio', 'peak MiB', 'ratio'];
    const head = ['case', '', 'tree', 'base', 'ratio', '95 % interval', ...beside, 'verdict'];
    const lines = Array.from(this.#comparisons.values(), (comparison) => {
      const { name, metric, ratio, verdict, medianTree, medianBase, micros, memoryMiB } =
        resultOf(comparison);
      const format = (value: number) => formatNumber(value, comparison.digits);
      return [
        name,
        metric,
        format(medianTree),
        format(medianBase),
        ratio.median.toFixed(3),
        formatInterval(ratio),
        ...formatBeside(micros, 2),
        ...formatBeside(memoryMiB, 0),
        verdict,
      ];
    });
    return formatCells(head, lines);
  }
}

function resultOf({ digits: _, ...comparison }: Comparison): Result {
  const ratio = pairedRatio(comparison.pairs, comparison.better);
  return {
    ...comparison,
    ratio,
    verdict: verdictOf(ratio),
    medianTree: medianOf(comparison.pairs.map(({ tree }) => tree)),
    medianBase: medianOf(comparison.pairs.map(({ base }) => base)),
    micros: besideOf(comparison.microsPairs),
    memoryMiB: besideOf(comparison.memoryPairs),
  };
}

function besideOf(pairs: readonly Pair[]): Beside | undefined {
  if (pairs.length === 0) return undefined;
  return {
    tree: medianOf(pairs.map(({ tree }) => tree)),
    base: medianOf(pairs.map(({ base }) => base)),
    ratio: pairedRatio(pairs, 'lower'),
  };
}

function formatBeside(beside: Beside | undefined, digits: number): [string, string] {
  if (beside === undefined) return ['', ''];
  const { tree, base, ratio } = beside;
  return [
    `${tree.toFixed(digits)} / ${base.toFixed(digits)}`,
    `${ratio.median.toFixed(3)} (${formatInterval(ratio)})`,
  ];
}

function pairOf(tree: Row, base: Row, value: string): Pair | undefined {
  const pair = { tree: tree.values[value], base: base.values[value] };
  return pair.tree === undefined || pair.base === undefined
    ? undefined
    : { tree: pair.tree, base: pair.base };
}

function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}

function formatInterval({ low, high }: PairedRatio): string {
  return high === Number.POSITIVE_INFINITY ? 'too few pairs' : `${low.toFixed(3)} to ${high.toFixed(3)}`;
}

function formatNumber(value: number, digits: number): string {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
