import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import type { RetentionPolicy } from '../../../../src/base/model.js';
import { Alarm } from '../../../../src/broker/alarm.js';
import { Retention } from '../../../../src/broker/retention/retention.js';
import type { Topic } from '../../../../src/broker/topics/topic.js';
import type { Storage } from '../../../../src/storage/types.js';
import { VirtualClock } from '../../../support/virtual-clock.js';

const none: RetentionPolicy = {
  maxAgeMs: 0,
  maxBytes: 0,
  untilAcknowledged: false,
  dropUnacknowledged: false,
};
const messageBytes = 10;

/** Messages 0 to 9 of ten bytes, published one a second; subscriptions that have settled so many. */
class Setup {
  readonly removed: string[] = [];
  readonly floors: number[] = [];
  readonly errors: unknown[] = [];
  readonly clock = new VirtualClock(0);
  readonly topic: {
    isDeleted: boolean;
    config: { retention: RetentionPolicy; partitionCount: number; name: string };
  };
  readonly retention: Retention;
  firstOffset = 0;
  lookups = 0;
  fail: Error | undefined;

  constructor(policy: Partial<RetentionPolicy>, settled: readonly number[] = [], partitionCount = 1) {
    const subscriptions = new Set(settled.map((offset) => ({ acknowledgedOffset: () => offset })));
    const config = { name: 't', partitionCount, retention: { ...none, ...policy } };
    const topic = {
      topicId: 1,
      name: 't',
      isDeleted: false,
      isLimited:
        Object.values(policy).some((limit) => typeof limit === 'number') || policy.untilAcknowledged === true,
      config,
      subscriptions,
      raiseFloor: (_partition: number, offset: number) => void this.floors.push(offset),
    };
    this.topic = topic;
    const storage: Partial<Storage> = {
      extent: () => ({
        firstOffset: this.firstOffset,
        endOffset: 10,
        bytes: (10 - this.firstOffset) * messageBytes,
      }),
      offsetAt: async (_topicId, _partition, timeMs) => {
        this.lookups += 1;
        return Math.min(10, Math.max(this.firstOffset, Math.ceil(timeMs / 1_000)));
      },
      offsetOfNewest: async (_topicId, _partition, bytes) => {
        this.lookups += 1;
        return Math.max(this.firstOffset, 10 - Math.floor(bytes / messageBytes));
      },
      removeBelow: async (_topicId, partition, offset) => {
        if (this.fail !== undefined) throw this.fail;
        assert.deepEqual(this.floors.at(-1), offset, 'the cursors move first');
        this.removed.push(`${partition}:${offset}`);
        this.firstOffset = offset;
      },
    };
    const logger = {
      debug() {},
      info() {},
      warn() {},
      error: (fields: object) => void this.errors.push(fields),
    };
    this.retention = new Retention({
      storage: storage as Storage,
      clock: this.clock,
      alarm: new Alarm(this.clock),
      logger,
      topics: { values: () => [topic as unknown as Topic] },
    });
  }

  async sweep(): Promise<readonly string[]> {
    this.retention.wake();
    await new Promise(setImmediate);
    return this.removed;
  }
}

describe('retention', () => {
  it('removes what is too old, and nothing that is not', async () => {
    const setup = new Setup({ maxAgeMs: 4_000 });
    setup.clock.advance(6_999);
    assert.deepEqual(await setup.sweep(), ['0:3']);
    assert.deepEqual(await setup.sweep(), ['0:3'], 'there is nothing more to remove');
  });

  it('removes what exceeds the bytes', async () => {
    assert.deepEqual(await new Setup({ maxBytes: 35 }).sweep(), ['0:7']);
    const exact = new Setup({ maxBytes: 100 });
    assert.deepEqual(await exact.sweep(), []);
    assert.equal(exact.lookups, 0, 'without a search');
    assert.deepEqual(await new Setup({ maxBytes: 99 }).sweep(), ['0:1']);
  });

  it('removes what is past either limit', async () => {
    const setup = new Setup({ maxAgeMs: 4_000, maxBytes: 50 });
    setup.clock.advance(6_000);
    assert.deepEqual(await setup.sweep(), ['0:5']);
  });

  it('keeps what a subscription has not settled, unless it may be dropped', async () => {
    assert.deepEqual(await new Setup({ maxBytes: 35 }, [9, 4]).sweep(), ['0:4']);
    assert.deepEqual(await new Setup({ maxBytes: 35, dropUnacknowledged: true }, [9, 4]).sweep(), ['0:7']);
    assert.deepEqual(await new Setup({ maxBytes: 35 }, [0]).sweep(), []);
  });

  it('removes at once what all subscriptions have settled, if it keeps messages only for them', async () => {
    assert.deepEqual(await new Setup({ untilAcknowledged: true }, [9, 6]).sweep(), ['0:6']);
    assert.deepEqual(await new Setup({ untilAcknowledged: true, maxBytes: 20 }, [6]).sweep(), ['0:6']);
    const dropping = { untilAcknowledged: true, dropUnacknowledged: true, maxBytes: 20 };
    assert.deepEqual(await new Setup(dropping, [6]).sweep(), ['0:8']);
    assert.deepEqual(
      await new Setup({ untilAcknowledged: true }).sweep(),
      [],
      'without a subscription, nothing',
    );
  });

  it('covers every partition, and leaves topics without a limit alone', async () => {
    const setup = new Setup({ maxBytes: 35 }, [], 2);
    setup.retention.wake();
    await new Promise(setImmediate);
    assert.deepEqual(setup.removed, ['0:7']);
    setup.firstOffset = 0;
    await setup.sweep();
    assert.equal(setup.removed.length, 2);
    const without = new Setup({ dropUnacknowledged: true }, [5]);
    assert.deepEqual(await without.sweep(), []);
  });

  it('sweeps again after a time, until it is stopped', async () => {
    const setup = new Setup({ maxBytes: 35 });
    await setup.sweep();
    setup.firstOffset = 0;
    setup.clock.advance(limits.retentionEveryMs - 1);
    await new Promise(setImmediate);
    assert.equal(setup.removed.length, 1);
    setup.clock.advance(1);
    await new Promise(setImmediate);
    assert.equal(setup.removed.length, 2);
    setup.retention.stop();
    setup.firstOffset = 0;
    setup.clock.advance(10 * limits.retentionEveryMs);
    await new Promise(setImmediate);
    assert.equal(setup.removed.length, 2);
  });

  it('tells that it could not remove, and tries again; not of a topic that was deleted', async () => {
    const setup = new Setup({ maxBytes: 35 });
    setup.fail = new Error('disk');
    await setup.sweep();
    assert.deepEqual(setup.errors, [{ error: setup.fail, topic: 't', partition: 0 }]);
    setup.topic.isDeleted = true;
    await setup.sweep();
    assert.equal(setup.errors.length, 1);
    setup.topic.isDeleted = false;
    setup.fail = undefined;
    assert.deepEqual(await setup.sweep(), ['0:7']);
  });
});
