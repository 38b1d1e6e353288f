import { runSeed, runSeeds, stepCount } from './run.js';

/** `make sim SEED=n`: one seed, step by step. `make sim SEEDS=n`: so many, quietly, from `FIRST` on. */
const { SEED, SEEDS, FIRST } = process.env;

if (SEED) {
  await runSeed(Number(SEED), { print: console.log });
  console.log(`seed ${SEED}: nothing found in ${stepCount} steps`);
} else {
  const startedAtMs = performance.now();
  const { counts, failures } = await runSeeds(Number(FIRST || 1), Number(SEEDS || 200));
  for (const { seed, error } of failures) console.log(`seed ${seed}: ${error}\n`);
  const tookS = ((performance.now() - startedAtMs) / 1_000).toFixed(1);
  console.log(`${tookS} s, ${failures.length} seeds failed; ${JSON.stringify(counts)}`);
  process.exitCode = failures.length > 0 ? 1 : 0;
}
