import assert from 'node:assert/strict';
import { minuteMs } from '../../src/base/units.js';
import { runSeed, runSeeds } from './run.js';

const seedCount = 200;
/** What so many runs must have seen of everything, at the least: a simulation in which nothing happens finds nothing. */
const leastCount = 10;

describe('the broker on its store, driven by chance', () => {
  it(`keeps its promises in ${seedCount} runs`, async function () {
    this.timeout(5 * minuteMs);
    this.slow(minuteMs);
    const { counts, failures } = await runSeeds(1, seedCount);
    assert.deepEqual(failures, []);
    for (const [event, count] of Object.entries(counts)) {
      assert.ok(count >= leastCount, `only ${count} times: ${event}`);
    }
  });

  it('is the same in every run of a seed', async () => {
    const traces = [1, 2].map(async () => {
      const lines: string[] = [];
      await runSeed(7, { print: (line) => lines.push(line) });
      return lines;
    });
    const [first, second] = await Promise.all(traces);
    assert.deepEqual(first, second);
  });
});
