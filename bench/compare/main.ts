import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '../../src/base/clock.js';
import { repositoryRoot } from '../../test/support/repository.js';
import type { BenchCase, BenchSettings, BenchVariant } from '../bench-case.js';
import { deliverKey, deliverNone } from '../cases/deliver.js';
import { latency } from '../cases/latency.js';
import { publishBatched, publishSingle } from '../cases/publish.js';
import { replay } from '../cases/replay.js';
import { describeMachine } from '../report.js';
import { type BaseBuild, buildBase, describeTree } from './base-build.js';
import { Comparisons } from './comparison.js';
import { heldRatio } from './paired-ratio.js';

const cases: readonly BenchCase[] = [publishBatched, publishSingle, latency, replay, deliverNone, deliverKey];

/** Backlogs grow with the time that is asked for: about so many messages a second are worked through. */
const replayMessagesPerSecond = 1_000_000;
const deliverMessagesPerSecond = 400_000;

const slowerExitCode = 1;
const brokenExitCode = 2;

const usage = `Compares the broker of this working tree with that of another commit, in pairs of runs.

make bench-compare BASE=commit [CASES="case ..."] [PAIRS=n] [SECONDS=n], or:
node dist/bench/compare/main.js --base commit [options]

  --base COMMIT    what is compared with: built in a scratch worktree
  --cases NAMES    cases or variants, separated by blanks or commas (all)
  --pairs N        pairs of runs of each variant (10); fewer than 6 have no 95 % interval
  --seconds N      how long each run measures, about (5)
  --json FILE      where the numbers go (bench/results/compare-<time>.json)

${cases.map(({ name, variants = [] }) => `  ${name.padEnd(16)} ${variants.map((each) => each.name.slice(name.length + 1)).join(', ')}`.trimEnd()).join('\n')}

Both brokers are loaded by the load generator of this tree. Above 1, a ratio says that the tree is better. Exits with
${slowerExitCode} where an interval lies wholly below ${heldRatio}, with ${brokenExitCode} where something could not be measured.
`;

const { values: flags } = parseArgs({
  options: {
    base: { type: 'string' },
    cases: { type: 'string', default: '' },
    pairs: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '5' },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${flag}: "${text}" is not a number above 0`);
  return value;
}

function chosenVariants(): readonly BenchVariant[] {
  const all = cases.map((each) => ({ name: each.name, variants: each.variants ?? [each] }));
  const names = flags.cases.split(/[\s,]+/).filter((name) => name !== '');
  if (names.length === 0) return all.flatMap(({ variants }) => variants);
  return names.flatMap((name) => {
    const chosen = all.find((each) => each.name === name)?.variants;
    const variant = all.flatMap(({ variants }) => variants).find((each) => each.name === name);
    if (chosen === undefined && variant === undefined) throw new Error(`no case ${name}; see --help`);
    return chosen ?? [variant!];
  });
}

/** Runs each variant in pairs. Answers what could not be measured. */
async function compare(
  variants: readonly BenchVariant[],
  { pairCount, settings, base }: { pairCount: number; settings: BenchSettings; base: BaseBuild },
  comparisons: Comparisons,
): Promise<readonly string[]> {
  const failures: string[] = [];
  const baseSettings = { ...settings, brokerCommand: base.command };
  for (const { name, run } of variants) {
    try {
      for (let pair = 0; pair < pairCount; pair += 1) {
        console.error(`${name}: pair ${pair + 1} of ${pairCount}`);
        // They take turns at being first: a machine that becomes slower or faster favours neither.
        if (pair % 2 === 0) {
          const treeRows = await run(settings);
          comparisons.add(treeRows, await run(baseSettings));
        } else {
          const baseRows = await run(baseSettings);
          comparisons.add(await run(settings), baseRows);
        }
      }
    } catch (error) {
      console.error(error);
      failures.push(name);
    }
  }
  return failures;
}

async function main(): Promise<void> {
  if (flags.base === undefined || flags.base === '')
    throw new Error('name a commit: BASE=commit; see --help');
  const seconds = positive('seconds', flags.seconds);
  const pairCount = Math.ceil(positive('pairs', flags.pairs));
  const variants = chosenVariants();
  const settings: BenchSettings = {
    measureMs: seconds * 1000,
    replayMessages: seconds * replayMessagesPerSecond,
    deliverMessages: seconds * deliverMessagesPerSecond,
    backlogMessages: 0,
    restartBytes: 0,
  };
  const time = new Date(systemClock.wallMs()).toISOString().replace(/[:.]/g, '-');
  const file = flags.json ?? join(repositoryRoot, 'bench/results', `compare-${time}.json`);
  const tree = describeTree();
  console.error(`building ${flags.base} in a scratch worktree`);
  const base = buildBase(flags.base);
  const comparisons = new Comparisons();
  let failures: readonly string[];
  try {
    failures = await compare(variants, { pairCount, settings, base }, comparisons);
  } finally {
    base.remove();
  }
  const results = comparisons.results();
  const { commit, subject } = base;
  const report = { time, machine: describeMachine(), tree, base: { commit, subject }, pairCount, seconds };
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify({ ...report, failures, results }, null, 2)}\n`);

  console.log(`tree: ${tree.commit.slice(0, 12)}${tree.isChanged ? ', changed' : ''}`);
  console.log(`base: ${commit.slice(0, 12)} ${subject}\n`);
  console.log(comparisons.table());
  const slower = results.filter(({ verdict }) => verdict === 'slower');
  for (const { name, metric } of slower) console.error(`slower: ${name}, ${metric}`);
  if (slower.length > 0) process.exitCode = slowerExitCode;
  if (failures.length > 0) {
    console.error(`not measured: ${failures.join(', ')}`);
    process.exitCode = brokenExitCode;
  }
}

if (flags.help) {
  console.log(usage);
} else {
  // An exit, so that what runs and the scratch worktree go with it.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => process.exit(brokenExitCode));
  await main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = brokenExitCode;
  });
}
