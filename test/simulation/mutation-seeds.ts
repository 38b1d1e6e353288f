import { runSeed } from './run.js';

/** `make mutate` counts the simulation among the tests: a seed is a test, so that one that fails ends the run of a mutant. */
const seedCount = 60;

describe('the simulation', () => {
  for (let seed = 1; seed <= seedCount; seed += 1) it(`holds for seed ${seed}`, () => runSeed(seed));
});
