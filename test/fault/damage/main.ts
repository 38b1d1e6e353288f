import { planOf } from './damage.js';
import { describeRun } from './report.js';
import { DamageRuns, type RunResult } from './run.js';

/**
 * `make damage RUNS=n SEED=n`: so many runs from a seed on. `RUNS=1` repeats one and prints all. `KEEP=directory`
 * keeps the damaged stores of failed runs. `VERBOSE=1` prints what came of each run, `KIND=table` makes
 * only those of the seeds that damage tables.
 */
const { DAMAGE_RUNS, SEED, KEEP, KIND, PARALLEL, VERBOSE } = process.env;
const firstSeed = Number(SEED || 0);
const runCount = Number(DAMAGE_RUNS || 60);

const runs = new DamageRuns();
const counts = new Map<string, number>();
let failedCount = 0;
let nextSeed = firstSeed;
const startedAtMs = performance.now();

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // Ends with the runs that are under way.
  process.once(signal, () => (nextSeed = Number.POSITIVE_INFINITY));
}
try {
  await Promise.all(Array.from({ length: Number(PARALLEL || 2) }, work));
} finally {
  runs.dispose();
}
const tookS = ((performance.now() - startedAtMs) / 1_000).toFixed(1);
for (const [what, count] of [...counts].sort()) console.log(`${String(count).padStart(6)} ${what}`);
const doneCount = [...counts.values()].reduce((sum, count) => sum + count, 0);
console.log(`${doneCount} runs from seed ${firstSeed} in ${tookS} s: ${failedCount} failed`);
process.exitCode = failedCount > 0 ? 1 : 0;

async function work(): Promise<void> {
  while (nextSeed < firstSeed + runCount) {
    const seed = nextSeed++;
    if (KIND && planOf(seed).kind !== KIND) continue;
    report(await runs.run(seed, KEEP || undefined));
  }
}

function report(result: RunResult): void {
  const { plan, verdict } = result;
  const accepted = result.isLossAccepted ? ', served with --accept-data-loss' : '';
  const what = `${plan.kind}: ${verdict.outcome}${accepted}`;
  counts.set(what, (counts.get(what) ?? 0) + 1);
  if (verdict.outcome === 'failed') failedCount += 1;
  if (runCount === 1) console.log(result.log.join('\n'), JSON.stringify(result.lives).slice(0, 20_000));
  if (verdict.outcome === 'failed' || runCount === 1 || VERBOSE) console.log(describeRun(result));
}
