import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { SpareMemory } from '../../../../src/base/spare-memory.js';
import { emptyExtent } from '../../../../src/storage/codec/extent.js';
import { visitRound } from '../../../../src/storage/commit/round.js';
import { planRound, type RoundPlan, runsOfRound } from '../../../../src/storage/commit/round-planner.js';
import { createSubmission } from '../../../../src/storage/commit/submission.js';
import { cursorsColumn, metadataColumn, partitionColumn } from '../../../../src/storage/engine/columns.js';
import { offsetOfDeadLetterKey } from '../../../../src/storage/engine/keys.js';
import { PartitionLog } from '../../../../src/storage/log/partition-log.js';
import type { Change } from '../../../../src/storage/types.js';
import { append, entry, topicConfig } from '../../../integration/storage/harness.js';

const context = {
  nextTopicId: 8,
  nextSubscriptionId: 1,
  publishTimeMs: 1_700_000_000_000,
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

  it('merges updates of one cursor and appends to one partition, and writes what they share once', () => {
    const logs = [0, 1].map((partition) => new PartitionLog(7, partition, { ...emptyExtent, endOffset: 5 }));
    const states: string[] = [];
    const cursorOf = (name: string, subscriptionId: number): Change => ({
      kind: 'cursor',
      subscriptionId,
      partition: 0,
      state: () => {
        states.push(name);
        return { acknowledgedOffset: 1, settled: [], failed: [], deadLetterCount: 0 };
      },
    });
    const changes: Change[] = [append(7, 0, ['a', 'b']), append(7, 1, ['c']), cursorOf('old', 1)];
    const second: Change[] = [append(7, 0, ['d']), cursorOf('new', 1)];
    const submissions = [
      createSubmission({ durability: 'written', changes }, { appendLogs: logs }),
      createSubmission({ durability: 'synced', changes: second }, { appendLogs: [logs[0]!] }),
    ];
    const plan = planRound(submissions, context);
    assert.deepEqual(states, ['new']);
    assert.equal(plan.isSynced, true);
    assert.equal(plan.byteLength, submissions[0]!.byteLength + submissions[1]!.byteLength);
    assert.deepEqual(
      plan.growths.map(({ log, endOffset }) => [log.partition, endOffset]),
      [
        [0, 8],
        [1, 6],
      ],
    );
    assert.deepEqual(operationsOf(plan), [
      [`put ${cursorsColumn}`, 1],
      [`record ${partitionColumn(0)}`, 1],
      [`put ${metadataColumn}`, 2],
      [`record ${partitionColumn(1)}`, 1],
    ]);
    assert.deepEqual([logs[0]!.plannedOffset, logs[1]!.plannedOffset], [8, 6]);
    assert.equal(planRound([submissions[0]!], context).isSynced, false);
  });

  it('removes notes before it is written: those that came earlier in the round, and none that came later', () => {
    const place = { subscriptionId: 1, partition: 0 };
    const note = (offset: number, partition = 0): Change => {
      return { kind: 'dead-letter', ...place, partition, offset, attempts: offset };
    };
    const changes: Change[] = [
      note(4),
      note(5),
      note(9),
      note(5, 1),
      { kind: 'remove-dead-letters', ...place, first: 4, last: 8 },
      note(6),
    ];
    const plan = planRound([createSubmission({ durability: 'synced', changes }, {})], context);
    const steps: string[] = [];
    const offsetOf = (key: Buffer) => `${key.readUInt16BE(5)}/${offsetOfDeadLetterKey(key)}`;
    visitRound(plan, {
      put: (_, key) => steps.push(`put ${offsetOf(key)}`),
      delete: () => assert.fail(),
      record: () => assert.fail(),
      clear: () => assert.fail(),
      clearFirst: (_, { gte, lt }) => steps.push(`clear ${offsetOf(gte)} to ${offsetOf(lt)}`),
    });
    assert.deepEqual(steps, ['put 0/9', 'put 1/5', 'clear 0/4 to 0/9', 'put 0/6']);
  });

  it('notes where publish times go back, and keeps the newest of these places', () => {
    const log = new PartitionLog(7, 0, { ...emptyExtent, firstOffset: 0, lastPublishTimeMs: 1_000 });
    const publishAt = (publishTimeMs: number) =>
      planRound(
        [createSubmission({ durability: 'written', changes: [append(7, 0, ['m'])] }, { appendLogs: [log] })],
        { ...context, publishTimeMs },
      );
    publishAt(1_000);
    publishAt(1_001);
    assert.deepEqual(log.clockSteps, []);
    publishAt(1_000);
    assert.deepEqual(log.clockSteps, [2]);
    assert.equal(log.lastPublishTimeMs, 1_000);
    log.firstOffset = 2;
    publishAt(999);
    assert.deepEqual(log.clockSteps, [3], 'a step that is not behind the first kept offset is none');
    for (let i = 1; i <= limits.clockStepsKept + 1; i += 1) publishAt(999 - i);
    assert.equal(log.clockSteps.length, limits.clockStepsKept);
    assert.equal(log.clockSteps.at(-1), log.plannedOffset - 1);
  });

  it('moves the first offset up with a range deletion, and leaves nothing of a deleted topic', () => {
    const log = new PartitionLog(7, 0, { ...emptyExtent, endOffset: 9 });
    const transaction = { durability: 'written' as const };
    const raised = planRound([createSubmission(transaction, { raisedLogs: [log] })], context);
    assert.deepEqual(operationsOf(raised), [
      [`clear ${partitionColumn(0)}`, 1],
      [`put ${metadataColumn}`, 1],
    ]);
    assert.deepEqual(raised.growths, []);
    const changes = [append(7, 0, ['m'])];
    const deleted = planRound(
      [createSubmission({ ...transaction, changes }, { appendLogs: [log], deletedLogs: [log] })],
      context,
    );
    assert.deepEqual(operationsOf(deleted), [
      [`delete ${metadataColumn}`, 1],
      [`clear ${partitionColumn(0)}`, 1],
      [`record ${partitionColumn(0)}`, 1],
    ]);
    const retired = planRound([createSubmission(transaction, { retiredDeletions: [Buffer.of(5)] })], context);
    assert.deepEqual(operationsOf(retired), [[`delete ${metadataColumn}`, 1]]);
    const topic: Change = { kind: 'topic', topicId: 7, config: topicConfig('t') };
    const created = planRound([createSubmission({ ...transaction, changes: [topic] }, {})], context);
    assert.deepEqual(operationsOf(created), [[`put ${metadataColumn}`, 2]], 'with the next free ids');
  });
});

/** The operations of a round: each kind and column in the order of the first, with how many there are. */
function operationsOf(plan: RoundPlan): [string, number][] {
  const counts = new Map<string, number>();
  const count = (kind: string) => (column: number) => {
    const name = `${kind} ${column}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  };
  visitRound(plan, {
    put: count('put'),
    delete: count('delete'),
    record: count('record'),
    clear: count('clear'),
    clearFirst: count('clear first'),
  });
  return [...counts];
}
