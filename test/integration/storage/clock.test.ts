import assert from 'node:assert/strict';
import { limits } from '../../../src/base/limits.js';
import type { Logger } from '../../../src/base/logger.js';
import { silentLogger } from '../../../src/base/logger.js';
import { PublishClock } from '../../../src/storage/commit/publish-clock.js';
import {
  append,
  closeAll,
  commit,
  createHarness,
  createTopic,
  type Harness,
  readAll,
  VirtualWall,
} from './harness.js';

const day = 24 * 60 * 60 * 1_000;
const now = 1_700_000_000_000;

/** One message of partition 0 at a time; answers its offset. */
async function publishAt(
  harness: Harness,
  clock: VirtualWall,
  topicId: number,
  timeMs: number,
): Promise<number> {
  clock.nowMs = timeMs;
  const [offset] = await commit(harness.storage, { appends: [append(topicId, 0, ['m'])] });
  return offset!;
}

async function publishTimes(harness: Harness, topicId: number): Promise<number[]> {
  const runs = await readAll(harness.storage.openReader(topicId, 0), 0);
  return runs.map((run) => run.publishTimeMs);
}

describe('storage: a wall clock that jumps', () => {
  afterEach(closeAll);

  for (const isRestarted of [false, true]) {
    it(`stamps one message years ahead, and none of those that follow${isRestarted ? ', after a restart either' : ''}`, async () => {
      const clock = new VirtualWall(now);
      const harness = await createHarness({ tailBytes: 0 }, clock);
      const topicId = await createTopic(harness.storage, 'orders');
      await publishAt(harness, clock, topicId, now);
      await publishAt(harness, clock, topicId, now + 3_650 * day);
      clock.nowMs = now + 1_000;
      if (isRestarted) await harness.reopen();
      await publishAt(harness, clock, topicId, now + 1_000);
      await publishAt(harness, clock, topicId, now + 2_000);
      if (isRestarted) await harness.reopen();
      assert.deepEqual(await publishTimes(harness, topicId), [
        now,
        now + 3_650 * day,
        now + 1_000,
        now + 2_000,
      ]);
    });
  }

  it('is searched by time as if what was stamped ahead had come just before the clock was set back', async () => {
    const clock = new VirtualWall(now);
    const harness = await createHarness({ tailBytes: 0 }, clock);
    const topicId = await createTopic(harness.storage, 'orders');
    // Offsets 0 to 9 by the minute, 10 to 29 a year ahead, 30 to 39 by the minute again; the same once more.
    for (let index = 0; index < 10; index++) await publishAt(harness, clock, topicId, now + index * 60_000);
    for (let index = 0; index < 20; index++)
      await publishAt(harness, clock, topicId, now + 365 * day + index);
    for (let index = 0; index < 10; index++)
      await publishAt(harness, clock, topicId, now + day + index * 60_000);
    for (let index = 0; index < 20; index++)
      await publishAt(harness, clock, topicId, now + 700 * day + index);
    for (let index = 0; index < 10; index++)
      await publishAt(harness, clock, topicId, now + 2 * day + index * 60_000);
    const expected: readonly (readonly [timeMs: number, offset: number])[] = [
      [0, 0],
      [now + 5 * 60_000, 5],
      [now + 10 * 60_000, 10],
      [now + day, 10],
      [now + day + 1, 31],
      [now + day + 9 * 60_000, 39],
      [now + 2 * day, 40],
      [now + 2 * day + 60_000, 61],
      [now + 3 * day, 70],
      [now + 800 * day, 70],
    ];
    for (let time = 0; time < 2; time++) {
      for (const [timeMs, offset] of expected) {
        assert.equal(await harness.storage.offsetAt(topicId, 0, timeMs), offset, `at ${timeMs - now}`);
      }
      // Where the times go back is remembered across a restart.
      await harness.reopen();
    }
    await harness.storage.removeBelow(topicId, 0, 45);
    assert.equal(await harness.storage.offsetAt(topicId, 0, now + day), 45);
    assert.equal(await harness.storage.offsetAt(topicId, 0, now + 2 * day + 60_000), 61);
  });

  it('is waited for when it is set back a little, followed and logged when it is set back by more', () => {
    const clock = new VirtualWall(now);
    const warnings: object[] = [];
    const logger: Logger = { ...silentLogger, warn: (fields) => warnings.push(fields) };
    const publishClock = new PublishClock(clock, logger, now + limits.clockHoldMs);
    assert.equal(publishClock.next(), now + limits.clockHoldMs);
    assert.deepEqual(warnings, []);
    clock.nowMs = now - 1;
    assert.equal(publishClock.next(), now - 1);
    assert.equal(warnings.length, 1);
    assert.deepEqual(Object.keys(warnings[0]!), ['lastPublishTime', 'now', 'setBackMs']);
    clock.nowMs = now - 2;
    assert.equal(publishClock.next(), now - 1);
    assert.equal(warnings.length, 1);
  });

  it('may have stamped anything that a number holds', () => {
    const publishClock = new PublishClock(new VirtualWall(now), silentLogger, Number.MAX_SAFE_INTEGER);
    assert.equal(publishClock.next(), now);
  });
});
