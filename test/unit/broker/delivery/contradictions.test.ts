import assert from 'node:assert/strict';
import { silentLogger } from '../../../../src/base/logger.js';
import { contradictions } from '../../../../src/broker/delivery/contradictions.js';
import type { SettledBefore } from '../../../../src/core/types.js';
import type { Storage } from '../../../../src/storage/types.js';

type Read = readonly [first: number, last: number, limit: number];

/** Compares with notes of these offsets in each partition. */
function compare(settledBefore: readonly SettledBefore[], notes: readonly number[], reads: Read[] = []) {
  const storage: Pick<Storage, 'readDeadLetterOffsets'> = {
    readDeadLetterOffsets(_subscriptionId, _partition, first, last, limit) {
      reads.push([first, last, limit]);
      return Promise.resolve(notes.filter((offset) => offset >= first && offset <= last).slice(0, limit));
    },
  };
  const subscription = { subscriptionId: 1, config: { topic: 't', name: 's' } };
  type Parameters0 = Parameters<typeof contradictions>;
  return contradictions(
    { storage, logger: silentLogger } as unknown as Parameters0[0],
    subscription as unknown as Parameters0[1],
    settledBefore,
  );
}

describe('contradictions', () => {
  it('are acknowledgements of dead letters, and failures of what has no note, in any order of what is asked', async () => {
    const found = await compare(
      [
        { partition: 1, first: 4, last: 9, outcome: 'ack' },
        { partition: 0, first: 5, last: 8, outcome: 'nack' },
        { partition: 1, first: 0, last: 4, outcome: 'ack' },
        { partition: 0, first: 0, last: 6, outcome: 'deadLetter' },
      ],
      [0, 4, 6, 20],
    );
    const inOrder = found.toSorted((a, b) => a.partition - b.partition || a.first - b.first);
    assert.deepEqual(inOrder, [
      { partition: 0, first: 1, last: 3 },
      { partition: 0, first: 5, last: 5 },
      { partition: 0, first: 7, last: 8 },
      { partition: 1, first: 0, last: 0 },
      { partition: 1, first: 4, last: 4 },
      { partition: 1, first: 6, last: 6 },
    ]);
  });

  it('are found by going once through the ranges and once through the notes', async () => {
    const count = 10_000;
    const settledBefore = Array.from({ length: count }, (_, i) => {
      return { partition: 0, first: 4 * i, last: 4 * i + 1, outcome: 'ack' } as const;
    });
    const notes = Array.from({ length: count }, (_, i) => 4 * i);
    const before = process.cpuUsage();
    const found = await compare(settledBefore, notes);
    const { user, system } = process.cpuUsage(before);
    assert.equal(found.length, count);
    // Ten thousand times ten thousand comparisons take seconds.
    assert.ok(user + system < 400_000, `${user + system} µs of processor time`);
  });
});
