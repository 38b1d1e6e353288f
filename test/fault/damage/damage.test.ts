import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { minuteMs } from '../../../src/base/units.js';
import { copyOf, pendingOffsets, type StoredMessage, settle } from './acknowledged.js';
import { judge, type ViolationKind } from './judge.js';
import { describeRun } from './report.js';
import { DamageRuns, judgeLives, type Lives, liveAgain } from './run.js';
import { type BuiltStore, variants } from './stores.js';

/** `DAMAGE_RUNS=n` for more runs, `SEED=n` to begin elsewhere: as for `make damage`. */
const runCount = Number(process.env.DAMAGE_RUNS || 60);
const firstSeed = Number(process.env.SEED || 0);
const runsAtOnce = 2;

describe('damaged stores', function () {
  this.timeout(3 * minuteMs);
  this.slow(2 * minuteMs);
  const runs = new DamageRuns();
  after(() => runs.dispose());

  for (const variant of variants) {
    it(`judges a store that is ${variant} and not damaged: whole, and each false list is found out`, async () => {
      const store = await runs.store(variant);
      const found = await live(store, store.directory);
      assert.deepEqual(judgeLives(store.acknowledged, found), { outcome: 'whole', violations: [] });
      for (const [kind, falsify] of falseLists) {
        const list = copyOf(store.acknowledged);
        falsify(list);
        const { violations } = judge(list, found.lives.slice(0, 1));
        assert.ok(
          violations.some((violation) => violation.kind === kind),
          `no violation "${kind}"`,
        );
      }
    });
  }

  it('finds out an older whole copy, which no broker can tell from the store', async () => {
    const store = await runs.store('killed');
    const { outcome, violations } = judgeLives(store.acknowledged, await live(store, store.olderCopies[1]!));
    assert.equal(outcome, 'failed');
    const kinds = new Set(violations.map(({ kind }) => kind));
    assert.ok(kinds.has('missing') && kinds.has('settled again'), [...kinds].join());
  });

  it(`are whole, refused, or served with named losses: ${runCount} runs from seed ${firstSeed} on`, async function () {
    this.timeout(3 * minuteMs + runCount * 0.2 * minuteMs);
    const seeds = Array.from({ length: runCount }, (_, index) => firstSeed + index);
    const failed: string[] = [];
    const outcomes = new Map<string, number>();
    let acceptedCount = 0;
    const run = async (seed: number) => {
      const result = await runs.run(seed);
      const { outcome } = result.verdict;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      if (outcome === 'failed') failed.push(describeRun(result));
      if (result.plan.variant === 'flushed') assert.equal(outcome, 'served with losses', describeRun(result));
      if (result.isLossAccepted) acceptedCount += 1;
    };
    const work = async () => {
      for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) await run(seed);
    };
    await Promise.all(Array.from({ length: runsAtOnce }, work));
    assert.deepEqual(failed, []);
    // Runs that all end the same way would prove little.
    if (runCount < 60) return;
    assert.deepEqual([...outcomes.keys()].sort(), ['refused', 'served with losses', 'whole']);
    assert.ok(acceptedCount > 0, 'no run went on with --accept-data-loss');
  });
});

/** Each makes a list that the store does not fit. */
const falseLists: readonly (readonly [ViolationKind, (list: ReturnType<typeof copyOf>) => void])[] = [
  ['altered', (list) => firstMessage(list, 'mixed', (message) => ({ ...message, digest: 'other bytes' }))],
  ['invented', (list) => firstMessage(list, 'mixed', () => undefined)],
  ['invented', (list) => list.subscriptions.delete('late/s')],
  ['missing', (list) => list.topics.set('more', { name: 'more', config: '', partitions: [] })],
  ['missing', ({ producers }) => (producers.get('orders/p1')!.lastSequence += 1)],
  ['missing', ({ subscriptions }) => (subscriptions.get('work/none')!.redrivable += 1)],
  ['settled again', (list) => settle(list, 'work/none', 0, pendingOffsets(list, 'work/none', 0)[0]!)],
];

function firstMessage(
  { topics }: ReturnType<typeof copyOf>,
  topic: string,
  change: (message: StoredMessage) => StoredMessage | undefined,
): void {
  const { messages, firstOffset } = topics.get(topic)!.partitions[0]!;
  const changed = change(messages.get(firstOffset)!);
  if (changed === undefined) messages.delete(firstOffset);
  else messages.set(firstOffset, changed);
}

async function live(store: BuiltStore, from: string): Promise<Lives> {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-damage-'));
  try {
    cpSync(from, directory, { recursive: true });
    return await liveAgain(directory, store.acknowledged);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
