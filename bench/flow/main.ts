import { mkdirSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../../src/base/clock.js';
import { secondMs } from '../../src/base/units.js';
import { repositoryRoot } from '../../test/support/repository.js';
import { describeMachine, formatTable, type Row } from '../report.js';
import { measureLongWay } from './long-way.js';
import { play } from './play.js';
import type { Phases, Scene } from './scene.js';
import { scenes, stallMs } from './scenes.js';

const longWay = 'long-way';
/** Compactions come and go: what can do so, too, takes turns with its absence. */
const repeatedRounds = 6;
const usage = `Measures flow control: what one in trouble costs the broker and the others.

make bench-flow, or: node dist/bench/flow/main.js [scene ...] [options]

${scenes.map(({ name, about }) => `  ${name.padEnd(16)} ${about}`).join('\n')}
  ${longWay.padEnd(16)} one stream over a round trip of 50 ms

  --seconds N   how long the trouble lasts (30), and the others are alone before; the same again to warm up. Where
                the trouble can come and go: ${repeatedRounds} times a third of both. A stall is always ${stallMs / secondMs} s
  --json FILE   where the numbers go (bench/results/flow-<time>.json)
  --plots DIR   where the plots go (docs/flow)
`;

const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '30' },
    json: { type: 'string' },
    plots: { type: 'string', default: join(repositoryRoot, 'docs/flow') },
    help: { type: 'boolean', default: false },
  },
});

function phasesOf(scene: Scene, wholeMs: number): Phases {
  const partMs = Math.max(5 * secondMs, wholeMs / 3);
  const isRepeated = scene.isRepeatable === true;
  return {
    rounds: isRepeated ? repeatedRounds : 1,
    warmupMs: wholeMs,
    aloneMs: isRepeated ? partMs : wholeMs,
    troubleMs: isRepeated ? partMs : scene.name === 'disk-stall' ? stallMs : wholeMs,
    afterMs: partMs,
  };
}

async function main(): Promise<void> {
  const seconds = Number(flags.seconds);
  if (!(seconds > 0)) throw new Error(`--seconds: "${flags.seconds}" is not a number above 0`);
  const unknown = names.filter((name) => name !== longWay && !scenes.some((scene) => scene.name === name));
  if (unknown.length > 0) throw new Error(`no scene ${unknown.join(', ')}; see --help`);
  const isChosen = (name: string) => names.length === 0 || names.includes(name);
  const time = new Date(systemClock.wallMs()).toISOString().replace(/[:.]/g, '-');
  const file = flags.json ?? join(repositoryRoot, 'bench/results', `flow-${time}.json`);
  const loadBefore = loadavg();

  const rows: Row[] = [];
  const failures: string[] = [];
  mkdirSync(flags.plots, { recursive: true });
  for (const scene of scenes.filter(({ name }) => isChosen(name))) {
    console.error(`${scene.name}: ${scene.about}`);
    try {
      const { row, plot, misses } = await play(scene, phasesOf(scene, seconds * secondMs));
      rows.push(row);
      console.error(`  ${row.result}\n  ${row.check}`);
      writeFileSync(join(flags.plots, `${scene.name}.svg`), plot);
      if (misses.length > 0) failures.push(scene.name);
    } catch (error) {
      console.error(error);
      failures.push(scene.name);
    }
  }
  if (isChosen(longWay)) rows.push(await measureLongWay((seconds * secondMs) / 3));
  mkdirSync(join(file, '..'), { recursive: true });
  const report = { time, machine: { ...describeMachine(), loadBefore }, seconds, failures, rows };
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  console.log(formatTable(rows));
  if (failures.length > 0) {
    console.error(`missed or failed: ${failures.join(', ')}`);
    process.exitCode = 1;
  }
}

if (flags.help) console.log(usage);
else await main();
