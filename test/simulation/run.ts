import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Simulation } from './simulation.js';

/** Steps of one run. */
export const mostSteps = 120;
/** Lines of the trace that a failure shows. */
const shownLines = 40;

/** Memory where the system offers it: what is tested here is crashes of the broker, not of the machine. */
const memoryDirectory = '/dev/shm';

/** Runs one seed. Rejects with what was found, the last steps and how to see all of them. */
export async function runSeed(seed: number, { print }: { print?: (text: string) => void } = {}): Promise<void> {
  const parent = existsSync(memoryDirectory) ? memoryDirectory : tmpdir();
  const directory = await mkdtemp(join(parent, 'sluice-simulation-'));
  const lines: string[] = [];
  const trace = (text: string): void => {
    lines.push(text);
    if (lines.length > shownLines) lines.shift();
    print?.(text);
  };
  const simulation = new Simulation({ seed, directory, stepCount: mostSteps, trace });
  try {
    await simulation.run();
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`make sim SEED=${seed}: ${text}\n${lines.join('\n')}`, { cause });
  } finally {
    await simulation.dispose();
    await rm(directory, { recursive: true, force: true });
  }
}
