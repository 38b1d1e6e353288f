import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { minuteMs } from '../../src/base/units.js';
import { type Patch, patchedDist } from '../support/patched-dist.js';

interface Fault extends Patch {
  readonly name: string;
}

const faults: readonly Fault[] = [
  {
    name: 'a stale acknowledgement settles',
    path: 'src/core/lane.js',
    right: 'const held = this.leases.end(first, last, holder);',
    wrong: 'const held = this.leases.revoke(first, last);',
  },
  {
    name: 'a message that was taken back is not delivered again',
    path: 'src/core/partition-lane.js',
    right: 'this.#next = Math.min(this.#next, offset);',
    wrong: '',
  },
  {
    name: 'credit is given back twice',
    path: 'src/core/leases.js',
    right: 'session.giveBack(count, lease.bytes(first, last));',
    wrong: 'session.giveBack(2 * count, lease.bytes(first, last));',
  },
  {
    name: 'a failure is not counted on the disk',
    path: 'src/core/failures.js',
    right: 'outbox.dirty(this.#partition);',
    wrong: '{}',
  },
  {
    name: 'a consumer does not hear of what is taken back from it',
    path: 'src/core/leases.js',
    right: 'this.#outbox.revoked(delivery.session, { partition: delivery.partition, first, last });',
    wrong: '',
  },
  {
    name: 'two processes of one producer name get the same epoch',
    path: 'src/broker/publishing/open-producer.js',
    right: 'return { epoch: epoch + 1, lastSequence',
    wrong: 'return { epoch: Math.max(1, epoch), lastSequence',
  },
  {
    name: 'a fenced process is not fenced',
    path: 'src/core/producer-sequence.js',
    right: "return { kind: 'fenced', epoch: known.epoch };",
    wrong: 'return { kind: "accept", skip: 0, next: known };',
  },
  {
    name: 'a redrive passes over a dead letter',
    path: 'src/broker/dead-letters/redrive.js',
    right: 'const deadLetters = page.deadLetters.slice(from, from + count);',
    wrong: 'const deadLetters = page.deadLetters.slice(from + 1, from + count);',
  },
  {
    name: 'dead letters are sent back to all subscriptions',
    path: 'src/broker/dead-letters/redrive.js',
    right: 'targetSubscriptionId: this.#subscription.subscriptionId,',
    wrong: '',
  },
];

/** Runs within which each of them must have been found. */
const mostSeeds = 25;

/** The simulation of a core that is known to be broken: if this finds nothing, that proves nothing. */
describe('the simulation of a broker with a deliberate fault', () => {
  for (const fault of faults) {
    it(`finds that ${fault.name}`, async function () {
      this.timeout(minuteMs);
      this.slow(minuteMs);
      const directory = mkdtempSync(join(tmpdir(), 'sluice-fault-'));
      try {
        const { runSeeds } = (await import(patch(directory, fault))) as typeof import('./run.js');
        const { failures } = await runSeeds(1, mostSeeds, 1);
        assert.ok(failures.length > 0, `${mostSeeds} runs found nothing`);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    });
  }
});

/** Compiled code with the fault in it. Returns where its simulation is. */
function patch(directory: string, fault: Fault): string {
  const parts = ['src', 'test/simulation', 'test/support', 'test/unit/core/model'];
  return pathToFileURL(join(patchedDist(directory, parts, fault), 'test/simulation/run.js')).href;
}
