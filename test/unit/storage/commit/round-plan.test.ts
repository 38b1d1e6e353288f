import assert from 'node:assert/strict';
import { SpareMemory } from '../../../../src/base/spare-memory.js';
import { emptyExtent } from '../../../../src/storage/codec/extent.js';
import { planRound, runsOfRound } from '../../../../src/storage/commit/round-planner.js';
import { createSubmission } from '../../../../src/storage/commit/submission.js';
import { PartitionLog } from '../../../../src/storage/log/partition-log.js';
import { entry } from '../../../integration/storage/harness.js';

const context = {
  nextTopicId: 8,
  nextSubscriptionId: 1,
  publishTimeMs: 1_700_000_000_000,
  hasSubscription: () => true,
  memory: new SpareMemory(0),
};

/** All memory that can be reached from here. */
function memoryOf(value: unknown, seen = new Set<unknown>()): Set<unknown> {
  if (typeof value !== 'object' || value === null || seen.has(value)) return seen;
  seen.add(value);
  if (ArrayBuffer.isView(value)) seen.add(value.buffer);
  else for (const part of Object.values(value)) memoryOf(part, seen);
  return seen;
}

describe('a round', () => {
  it('holds what was submitted in its block, and nothing of the requests', () => {
    const log = new PartitionLog(7, 2, emptyExtent);
    const requests = ['first', 'second'].map((text) => new Uint8Array(entry(text)));
    const submissions = requests.map((chunk) => {
      const append = {
        kind: 'append' as const,
        topicId: 7,
        partition: 2,
        producerId: 'p',
        chunks: [chunk],
        count: 1,
        byteLength: chunk.length,
      };
      const transaction = { durability: 'written' as const, changes: [append], onCommitted: () => {} };
      return createSubmission(transaction, { appendLogs: [log] });
    });
    const plan = planRound(submissions, context);
    for (const { transaction } of submissions) {
      assert(plan.submitters.some(({ onCommitted }) => onCommitted === transaction.onCommitted));
    }
    const held = memoryOf(plan);
    assert(held.has(plan.block));
    for (const { buffer } of requests) assert(!held.has(buffer), 'a request is held until its commit');
    const [round] = runsOfRound(plan, plan.block);
    assert.deepEqual(
      round!.runs.map(({ firstOffset, messages }) => [firstOffset, Buffer.from(messages)]),
      [[0, Buffer.concat(requests)]],
    );
  });
});
