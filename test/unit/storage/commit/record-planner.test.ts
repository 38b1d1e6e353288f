import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { PublishClock } from '../../../../src/storage/commit/publish-clock.js';
import { RecordPlanner } from '../../../../src/storage/commit/record-planner.js';
import type { Append } from '../../../../src/storage/types.js';
import { append, entry, VirtualWall } from '../../../integration/storage/harness.js';

/** A message whose entry has exactly so many bytes; at least 16,388. */
function message(byteLength: number): Buffer {
  const bytes = Buffer.alloc(byteLength - 4, 0x61);
  assert.equal(entry(bytes).length, byteLength);
  return bytes;
}

function plan(...appends: Append[]) {
  const planner = new RecordPlanner(3, 1_000, 100, 5_000);
  for (const each of appends) planner.add(each);
  const records = planner.finish().map(({ outline }) => ({
    firstOffset: outline.firstOffset,
    position: outline.position,
    counts: outline.runs.map(({ count }) => count),
    bytes: outline.runs.reduce((sum, { byteLength }) => sum + byteLength, 0),
  }));
  return { records, position: planner.position };
}

const { recordBytes } = limits;
const half = recordBytes / 2;

describe('the planner of records', () => {
  it('joins messages of one producer to a run, and begins another for other readers', () => {
    const to = (producerId: string, targetSubscriptionId = 0) => ({
      ...append(1, 3, ['m'], producerId),
      targetSubscriptionId,
    });
    const { records } = plan(to('p'), to('p'), to('q'), to('q', 1), to('q', 1), to('p'));
    assert.deepEqual(records[0]?.counts, [2, 1, 2, 1]);
    assert.equal(records.length, 1);
  });

  it('fills a record to exactly its size', () => {
    const { records, position } = plan(
      append(1, 3, [message(half)]),
      append(1, 3, [message(half)]),
      append(1, 3, ['x']),
    );
    assert.deepEqual(records, [
      { firstOffset: 100, position: 5_000, counts: [2], bytes: recordBytes },
      { firstOffset: 102, position: 5_000 + recordBytes, counts: [1], bytes: 3 },
    ]);
    assert.equal(position, 5_003 + recordBytes);
    const { records: split } = plan(append(1, 3, [message(half)]), append(1, 3, [message(half + 1)]));
    assert.deepEqual(
      split.map(({ bytes }) => bytes),
      [half, half + 1],
    );
  });

  it('splits an append between messages, however they are spread over chunks', () => {
    const messages = [half, half, half, recordBytes * 2, half].map(message);
    const single = append(1, 3, messages);
    const joined = { ...single, chunks: [Buffer.concat(single.chunks)] };
    for (const each of [single, joined]) {
      const { records } = plan(append(1, 3, ['x']), each);
      assert.deepEqual(
        records.map(({ firstOffset, bytes }) => [firstOffset, bytes]),
        [
          [100, half + 3],
          [102, recordBytes],
          [104, 2 * recordBytes],
          [105, half],
        ],
      );
    }
  });

  it('plans nothing without messages', () => {
    assert.deepEqual(plan(), { records: [], position: 5_000 });
  });
});

describe('the publish clock', () => {
  const warnings: object[] = [];
  const logger = { debug() {}, info() {}, error() {}, warn: (fields: object) => void warnings.push(fields) };

  it('stands still while the wall clock is behind by a little, and follows it otherwise', () => {
    warnings.length = 0;
    const wall = new VirtualWall(1_000_000_000_000);
    const { nowMs } = wall;
    const clock = new PublishClock(wall, logger, 0);
    assert.equal(clock.next(), nowMs);
    wall.nowMs += 5;
    assert.equal(clock.next(), nowMs + 5);
    wall.nowMs = nowMs + 5 - limits.clockHoldMs;
    assert.equal(clock.next(), nowMs + 5);
    assert.deepEqual(warnings, []);
    wall.nowMs -= 1;
    assert.equal(clock.next(), wall.nowMs);
    assert.deepEqual(warnings, [
      {
        lastPublishTime: new Date(nowMs + 5).toISOString(),
        now: new Date(wall.nowMs).toISOString(),
        setBackMs: limits.clockHoldMs + 1,
      },
    ]);
    assert.equal(clock.next(), wall.nowMs);
    assert.equal(warnings.length, 1);
  });

  it('goes on from the latest time in the store, whatever that is', () => {
    warnings.length = 0;
    const wall = new VirtualWall(1_000);
    assert.equal(new PublishClock(wall, logger, 1_001).next(), 1_001);
    assert.equal(new PublishClock(wall, logger, 9e15).next(), 1_000);
    assert.equal(warnings.length, 1);
  });
});
