import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Plot, type Series, toSvg } from './plot.js';
import type { Row } from './report.js';

/** How the cost grows, as one file for each thing that it grows with. Rows of other cases are left out. */
export function writeScalePlots(directory: string, rows: readonly Row[]): void {
  mkdirSync(directory, { recursive: true });
  for (const [name, plot] of Object.entries(plotsOf(rows))) {
    const isMeasured = plot.series.length > 0 && plot.series.every(({ points }) => points.length > 0);
    if (isMeasured) writeFileSync(join(directory, `${name}.svg`), toSvg(plot));
  }
}

function plotsOf(rows: readonly Row[]): Readonly<Record<string, Plot>> {
  const outstanding = (name: string): Series =>
    series(rows, name, `scale-outstanding/${name}-`, 'heldCount', 'brokerMicrosPerMessage');
  return {
    catalog: {
      title: 'Memory by size of the catalog (2 subscriptions and 5 consumers a topic)',
      xLabel: 'topics',
      yLabel: 'RSS, MiB',
      xScale: 'linear',
      series: [series(rows, 'broker', 'scale-catalog/', 'topicCount', 'rssMiB')],
    },
    outstanding: {
      title: 'Processor time of a further message by what is outstanding',
      xLabel: 'outstanding messages',
      yLabel: 'µs a message',
      xScale: 'log',
      series: ['none', 'none-spread', 'key', 'key-spread'].map(outstanding),
    },
    backlog: {
      title: 'Processor time of a message along a backlog',
      xLabel: 'tenth of the backlog',
      yLabel: 'µs a message',
      xScale: 'linear',
      series: [series(rows, 'NONE', 'scale-backlog/', 'tenth', 'brokerMicrosPerMessage')],
    },
  };
}

function series(rows: readonly Row[], name: string, prefix: string, xValue: string, yValue: string): Series {
  const points = [];
  for (const { name: rowName, values } of rows) {
    const x = values[xValue];
    const y = values[yValue];
    // What follows the prefix begins with a number: `none-` is not to find `none-spread-`.
    const isWanted = rowName.startsWith(prefix) && !/^spread/.test(rowName.slice(prefix.length));
    if (isWanted && x !== undefined && y !== undefined) points.push({ x, y });
  }
  return { name, points };
}
