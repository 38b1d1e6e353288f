import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SimulationEvent, simulationEvents } from './actions.js';
import { Simulation } from './simulation.js';

/** Steps of one run. */
export const stepCount = 120;
/** Lines of the trace that a failure shows. */
const shownLines = 40;
/** Runs at once: while one waits for its writer thread to start, another goes on. */
const concurrency = 3;
/** Memory where the system offers it: the broker crashes here, not the machine. */
const memoryDirectory = '/dev/shm';

export interface SeedOptions {
  /** Every line of the trace. */
  readonly print?: (line: string) => void;
  readonly count?: (event: SimulationEvent) => void;
}

/** Runs one seed. Rejects with what was found, the last steps, and how to see all of them. */
export async function runSeed(seed: number, { print, count }: SeedOptions = {}): Promise<void> {
  const parent = existsSync(memoryDirectory) ? memoryDirectory : tmpdir();
  const directory = await mkdtemp(join(parent, 'sluice-simulation-'));
  const lines: string[] = [];
  const trace = (line: string): void => {
    lines.push(line);
    if (lines.length > shownLines) lines.shift();
    print?.(line);
  };
  const simulation = new Simulation({ seed, directory, stepCount, trace, count: (event) => count?.(event) });
  try {
    await simulation.run();
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${text}\nAll of it: make sim SEED=${seed}. The end of it:\n${lines.join('\n')}`, {
      cause,
    });
  } finally {
    await simulation.dispose();
    await rm(directory, { recursive: true, force: true });
  }
}

export interface SeedsResult {
  /** How often what happened, over all runs. */
  readonly counts: Readonly<Record<SimulationEvent, number>>;
  readonly failures: readonly { readonly seed: number; readonly error: unknown }[];
}

/** Runs so many seeds, a few at once; the first `mostFailures` end it. */
export async function runSeeds(
  firstSeed: number,
  seedCount: number,
  mostFailures = Number.POSITIVE_INFINITY,
): Promise<SeedsResult> {
  const counts = Object.fromEntries(simulationEvents.map((event) => [event, 0])) as Record<
    SimulationEvent,
    number
  >;
  const failures: { seed: number; error: unknown }[] = [];
  let nextSeed = firstSeed;
  const work = async (): Promise<void> => {
    while (nextSeed < firstSeed + seedCount && failures.length < mostFailures) {
      const seed = nextSeed;
      nextSeed += 1;
      try {
        await runSeed(seed, { count: (event) => (counts[event] += 1) });
      } catch (error) {
        failures.push({ seed, error });
      }
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return { counts, failures };
}
