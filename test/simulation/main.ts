import { mostSteps, runSeed } from './run.js';

/** `make sim SEED=n`: one seed, step by step. `make sim SEEDS=n`: so many seeds, quietly, from FIRST on. */
const seed = process.env.SEED;
const first = Number(process.env.FIRST || 1);
const seeds = Number(process.env.SEEDS || 200);

if (seed) {
  await runSeed(Number(seed), { print: console.log });
  console.log(`seed ${seed}: nothing found in ${mostSteps} steps`);
} else {
  const startedAtMs = performance.now();
  const failures: unknown[] = [];
  for (let each = first; each < first + seeds; each += 1) {
    await runSeed(each).catch((error: unknown) => failures.push(error));
  }
  for (const failure of failures) console.log(`${failure}\n`);
  console.log(`${seeds} seeds in ${Math.round(performance.now() - startedAtMs)} ms: ${failures.length} failed`);
  process.exitCode = failures.length > 0 ? 1 : 0;
}
