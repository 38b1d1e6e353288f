import type { Ordering } from '../../../src/base/model.js';
import { ModelRun } from './model/run.js';

const stepCount = 200;

/** `SLUICE_SEED=n` runs one seed only; `SLUICE_SEEDS=n` runs the first n. */
const wantedSeed = process.env.SLUICE_SEED;
const seedCount = Number(process.env.SLUICE_SEEDS ?? 40);

describe('a subscription against the reference model', () => {
  for (const ordering of ['partition', 'none', 'key'] as const satisfies readonly Ordering[]) {
    it(`does what the reference does, in order of ${ordering}`, () => {
      const seeds =
        wantedSeed === undefined ? Array.from({ length: seedCount }, (_, i) => i) : [Number(wantedSeed)];
      for (const seed of seeds) runSeed(seed, ordering);
    }).timeout(0);
  }
});

function runSeed(seed: number, ordering: Ordering): void {
  let step = 0;
  try {
    const run = new ModelRun(seed, ordering);
    for (; step < stepCount; step += 1) run.step();
    run.drain();
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`SLUICE_SEED=${seed}, step ${step}, ${ordering}: ${text}`, { cause });
  }
}
