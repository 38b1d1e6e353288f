import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../src/base/clock.js';
import { GiB } from '../src/base/units.js';
import { repositoryRoot } from '../test/support/repository.js';
import type { BenchCase, BenchSettings } from './bench-case.js';
import { deliverKey, deliverNone } from './cases/deliver.js';
import { floor } from './cases/floor.js';
import { latency } from './cases/latency.js';
import { publishBatched, publishSingle } from './cases/publish.js';
import { replay } from './cases/replay.js';
import { restart } from './cases/restart.js';
import { scaleBacklog } from './cases/scale-backlog.js';
import { scaleCatalog } from './cases/scale-catalog.js';
import { scaleOutstanding } from './cases/scale-outstanding.js';
import { describeMachine, formatTable, type Row } from './report.js';
import { writeScalePlots } from './scale-plots.js';

const cases: readonly BenchCase[] = [
  floor,
  publishBatched,
  publishSingle,
  latency,
  replay,
  deliverNone,
  deliverKey,
  scaleCatalog,
  scaleOutstanding,
  scaleBacklog,
  restart,
];

const usage = `Measures a broker of this working tree, a fresh one for each case.

make bench, or: node dist/bench/main.js [case ...] [options]

${cases.map(({ name, about }) => `  ${name.padEnd(16)} ${about}`).join('\n')}

  --seconds N          how long each rate or latency is measured (10)
  --replay-messages N  backlog of the replay (5000000)
  --deliver-messages N backlog that 8 consumers share (2000000)
  --backlog-messages N backlog of scale-backlog (10000000)
  --restart-gib N      what is stored before the restart (10)
  --plots DIR          where the plots of the scale cases go (none are drawn)
  --json FILE          where the numbers go (bench/results/<time>.json)
`;

const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '10' },
    'replay-messages': { type: 'string', default: '5000000' },
    'deliver-messages': { type: 'string', default: '2000000' },
    'backlog-messages': { type: 'string', default: '10000000' },
    'restart-gib': { type: 'string', default: '10' },
    json: { type: 'string' },
    plots: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${flag}: "${text}" is not a number above 0`);
  return value;
}

function chosenCases(): readonly BenchCase[] {
  const unknown = names.filter((name) => !cases.some((known) => known.name === name));
  if (unknown.length > 0) throw new Error(`no case ${unknown.join(', ')}; see --help`);
  return names.length === 0 ? cases : cases.filter(({ name }) => names.includes(name));
}

async function main(): Promise<void> {
  const settings: BenchSettings = {
    measureMs: positive('seconds', flags.seconds) * 1000,
    replayMessages: positive('replay-messages', flags['replay-messages']),
    deliverMessages: positive('deliver-messages', flags['deliver-messages']),
    backlogMessages: positive('backlog-messages', flags['backlog-messages']),
    restartBytes: positive('restart-gib', flags['restart-gib']) * GiB,
  };
  const time = new Date(systemClock.wallMs()).toISOString().replace(/[:.]/g, '-');
  const file = flags.json ?? join(repositoryRoot, 'bench/results', `${time}.json`);

  const rows: Row[] = [];
  const failures: string[] = [];
  for (const { name, about, run } of chosenCases()) {
    console.error(`${name}: ${about}`);
    try {
      rows.push(...(await run(settings)));
    } catch (error) {
      console.error(error);
      failures.push(name);
    }
  }
  mkdirSync(dirname(file), { recursive: true });
  const report = { time, machine: describeMachine(), settings, failures, rows };
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  if (flags.plots !== undefined) writeScalePlots(flags.plots, rows);
  console.log(formatTable(rows));
  if (failures.length > 0) {
    console.error(`failed: ${failures.join(', ')}`);
    process.exitCode = 1;
  }
}

if (flags.help) console.log(usage);
else await main();
