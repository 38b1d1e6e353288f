import { mostSteps, runSeed } from './run.js';

/** `make sim SEED=n`: one seed, step by step. `make sim SEEDS=n`: so many seeds, quietly. */
const seed = process.env.SEED;
const seeds = Number(process.env.SEEDS || 200);

if (seed) {
  await runSeed(Number(seed), { print: console.log });
  console.log(`seed ${seed}: nothing found in ${mostSteps} steps`);
} else {
  const startedAtMs = performance.now();
  for (let each = 1; each <= seeds; each += 1) await runSeed(each);
  console.log(`${seeds} seeds in ${Math.round(performance.now() - startedAtMs)} ms: nothing found`);
}
