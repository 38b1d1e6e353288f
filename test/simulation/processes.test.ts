import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { minuteMs } from '../../src/base/units.js';
import { type Patch, patchedDist } from '../support/patched-dist.js';
import { runProcesses } from './processes.js';

const seedCount = Number(process.env.PROCESS_SEEDS ?? 300);
/** What so many runs must have seen of everything, at the least. */
const leastCount = 30;
/** Runs within which a deliberate fault must have been found. */
const mostSeeds = 50;

const faults: readonly (Patch & { readonly name: string })[] = [
  {
    name: 'a silent session is served like the others',
    path: 'src/core/session.js',
    right: 'isSilent = false;',
    wrong: 'set isSilent(_value) {}\n    get isSilent() { return false; }',
  },
  {
    name: 'what a session does not read stays with it for ever',
    path: 'src/core/subscription-state.js',
    right: '        this.#takeBackUnsent(nowMs);',
    wrong: '',
  },
  {
    name: 'a session that does not read gets a share of the partitions',
    path: 'src/core/silences.js',
    right: 'session.isStuck = true;\n        session.isSilent = true;',
    wrong: 'session.isStuck = true;',
  },
  {
    name: 'a crash charges everything that was in hand',
    path: 'src/core/subscription-state.js',
    right: "return atWorkCount > 1 ? { kind: 'suspects' }",
    wrong: "return atWorkCount > 9 ? { kind: 'suspects' }",
  },
  {
    name: 'a cancelled call charges what it had, although nothing was settled',
    path: 'src/core/subscription-state.js',
    right: "(end === 'cancelled' && session.hasSettled)",
    wrong: "end === 'cancelled'",
  },
];

describe('consumers that hang, crash by a message, and close early', () => {
  it(`lose no message but the poisonous ones in ${seedCount} runs`, function () {
    this.timeout(5 * minuteMs);
    this.slow(minuteMs);
    const { counts, failures } = runProcesses(seedCount);
    assert.deepEqual(failures, []);
    for (const [event, count] of counts) assert.ok(count >= leastCount, `only ${count} times: ${event}`);
  });

  // If runs of a core that is known to be broken find nothing, that proves nothing.
  for (const fault of faults) {
    it(`find that ${fault.name}`, async function () {
      this.timeout(minuteMs);
      this.slow(minuteMs);
      const directory = mkdtempSync(join(tmpdir(), 'sluice-fault-'));
      try {
        const dist = patchedDist(directory, ['src', 'test/simulation', 'test/unit/core'], fault);
        const patched = await import(pathToFileURL(join(dist, 'test/simulation/processes.js')).href);
        const { failures } = (patched as { runProcesses: typeof runProcesses }).runProcesses(mostSeeds, 1);
        assert.ok(failures.length > 0, `${mostSeeds} runs found nothing`);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    });
  }
});
