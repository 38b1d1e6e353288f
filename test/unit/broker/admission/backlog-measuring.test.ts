import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { Backlog, type BacklogServices } from '../../../../src/broker/admission/backlog.js';
import type { Sleeper } from '../../../../src/broker/alarm.js';

const nowMs = 5_000;

/** How far a subscription is, by partition. */
interface Position {
  readonly acknowledgedOffset: number;
  readonly backlogMessageCount: number;
}

interface Limit {
  readonly maxBytes: number;
  readonly maxMessages: number;
}

/** A topic of two partitions that end at offset 10. Each message has ten bytes. The test rings the alarm. */
class Rig {
  readonly backlog: Backlog;
  readonly positions = new Map<string, Position[]>();
  readonly topic: { isDeleted: boolean; config: { partitionCount: number; backlogLimit: Limit } };
  readonly alarms: [Sleeper, atMs: number][] = [];
  readonly logged: string[] = [];
  /** Offsets whose bytes were asked for. */
  readonly asked: [partition: number, offset: number][] = [];
  /** Called during each measurement of bytes. */
  duringMeasurement: () => void = () => {};

  constructor(limit: Partial<Limit>) {
    const positions = this.positions;
    this.topic = {
      ...{ topicId: 1, name: 'orders', isDeleted: false },
      config: { partitionCount: 2, backlogLimit: { maxBytes: 0, maxMessages: 0, ...limit } },
      ...{
        subscriptions: {
          *values() {
            for (const ofPartition of positions.values()) {
              yield {
                acknowledgedOffset: (partition: number) => ofPartition[partition]!.acknowledgedOffset,
                partitionStatus: (partition: number) => ofPartition[partition]!,
              };
            }
          },
        },
      },
    };
    const services = {
      storage: {
        extent: () => ({ firstOffset: 0, endOffset: 10, bytes: 100 }),
        bytesFrom: async (_topicId: number, partition: number, offset: number) => {
          this.asked.push([partition, offset]);
          this.duringMeasurement();
          return (10 - offset) * 10;
        },
      },
      alarm: { set: (sleeper: Sleeper, atMs: number) => this.alarms.push([sleeper, atMs]) },
      logger: {
        error: ({ topic }: { topic: string }, text: string) => this.logged.push(`${topic}: ${text}`),
      },
      clock: { monotonicMs: () => nowMs },
    };
    this.backlog = new Backlog(this.topic as never, services as unknown as BacklogServices);
  }

  /** The subscription has acknowledged everything below this offset, by partition. */
  at(subscription: string, ...offsets: [number, number]): void {
    this.positions.set(
      subscription,
      offsets.map((offset) => ({ acknowledgedOffset: offset, backlogMessageCount: 10 - offset })),
    );
  }

  /** Rings the alarms that were set, and waits for the measurement. Returns how many there were. */
  async measure(): Promise<number> {
    const alarms = this.alarms.splice(0);
    for (const [sleeper] of alarms) sleeper.wake(nowMs);
    await new Promise(setImmediate);
    return alarms.length;
  }
}

describe('the measurement of a backlog', () => {
  it('takes the subscription that is the farthest behind in any partition', async () => {
    for (const [name, limit, isClosed] of [
      ['messages', { maxMessages: 7 }, true],
      ['messages', { maxMessages: 8 }, false],
      ['bytes', { maxBytes: 70 }, true],
      ['bytes', { maxBytes: 71 }, false],
      ['both', { maxMessages: 7, maxBytes: 1_000 }, true],
      ['both', { maxMessages: 1_000, maxBytes: 70 }, true],
      ['both', { maxMessages: 8, maxBytes: 71 }, false],
    ] as const) {
      const rig = new Rig(limit);
      rig.at('fast', 10, 10);
      rig.at('slow', 9, 3);
      rig.at('other', 8, 8);
      assert.equal(rig.backlog.isClosed, false, 'nothing is measured yet');
      assert.equal(await rig.measure(), 1);
      assert.equal(rig.backlog.isClosed, isClosed, `${name}: ${JSON.stringify(limit)}`);
    }
  });

  it('asks the store for nothing behind the end, and for no bytes without a limit for bytes', async () => {
    const rig = new Rig({ maxBytes: 100 });
    rig.at('s', 10, 4);
    await rig.measure();
    assert.deepEqual(rig.asked, [[1, 4]]);
    const messages = new Rig({ maxMessages: 100 });
    messages.at('s', 0, 0);
    await messages.measure();
    assert.deepEqual(messages.asked, []);
  });

  it('is never closed without a limit or without a subscription', async () => {
    const endless = new Rig({});
    endless.at('s', 0, 0);
    assert.equal(await endless.measure(), 0);
    endless.backlog.submitted(1_000_000, 1_000_000_000);
    assert.equal(endless.backlog.isClosed, false);
    const alone = new Rig({ maxMessages: 1 });
    assert.equal(await alone.measure(), 1);
    alone.backlog.submitted(1_000_000, 1_000_000_000);
    assert.equal(alone.backlog.isClosed, false);
  });

  it('happens soon, once for many settlements, and only if there is no room', async () => {
    const rig = new Rig({ maxMessages: 5 });
    rig.at('s', 9, 10);
    assert.deepEqual(rig.alarms, [[rig.backlog, nowMs + limits.backlogMeasureDelayMs]]);
    await rig.measure();
    rig.backlog.settled();
    rig.backlog.submitted(3, 30);
    rig.backlog.committed(3, 30);
    assert.deepEqual(rig.alarms, [], 'there is room for another message');
    rig.backlog.submitted(1, 10);
    for (let i = 0; i < 3; i += 1) rig.backlog.settled();
    assert.equal(rig.alarms.length, 1);
    rig.at('s', 10, 10);
    await rig.measure();
    assert.equal(rig.backlog.isClosed, false);
    rig.backlog.settled();
    assert.equal(rig.alarms.length, 0);
  });

  it('counts what is not committed yet, and no longer once it is committed', async () => {
    const rig = new Rig({ maxMessages: 5, maxBytes: 1_000 });
    rig.at('s', 8, 8);
    await rig.measure();
    rig.backlog.submitted(3, 30);
    assert.equal(rig.backlog.isClosed, true);
    await rig.measure();
    assert.equal(rig.backlog.isClosed, true, 'two are stored, three are on their way');
    let enteredCount = 0;
    rig.backlog.wait(() => enteredCount++);
    rig.backlog.committed(1, 10);
    assert.equal(await rig.measure(), 1, 'a commit causes a measurement');
    assert.equal(rig.backlog.isClosed, false);
    assert.equal(enteredCount, 1);
    rig.backlog.committed(2, 20);
    rig.backlog.submitted(1, 10);
    assert.equal(await rig.measure(), 1);
    assert.equal(rig.backlog.isClosed, false);
    rig.backlog.submitted(1, 10);
    assert.equal(rig.backlog.isClosed, false, 'room for two more of the five');
    rig.backlog.submitted(1, 10);
    assert.equal(rig.backlog.isClosed, true);
  });

  it('counts the bytes that are not committed yet', async () => {
    const rig = new Rig({ maxBytes: 50 });
    rig.at('s', 8, 8);
    await rig.measure();
    rig.backlog.submitted(3, 30);
    await rig.measure();
    assert.equal(rig.backlog.isClosed, true);
    rig.backlog.committed(1, 10);
    await rig.measure();
    assert.equal(rig.backlog.isClosed, false);
    rig.backlog.submitted(1, 10);
    assert.equal(rig.backlog.isClosed, true);
  });

  it('counts what is submitted during a measurement, and measures again after a commit during it', async () => {
    const rig = new Rig({ maxBytes: 100, maxMessages: 1_000 });
    rig.at('s', 5, 10);
    rig.duringMeasurement = () => rig.backlog.submitted(2, 49);
    await rig.measure();
    assert.equal(rig.backlog.isClosed, false);
    rig.duringMeasurement = () => {};
    rig.backlog.submitted(1, 1);
    assert.equal(rig.backlog.isClosed, true);

    // The measured bytes may contain what is committed during the measurement. It is subtracted twice then.
    rig.duringMeasurement = () => {
      rig.duringMeasurement = () => {};
      rig.backlog.committed(2, 49);
    };
    let enteredCount = 0;
    rig.backlog.wait(() => enteredCount++);
    assert.equal(await rig.measure(), 1);
    assert.equal(rig.backlog.isClosed, true);
    assert.equal(enteredCount, 0);
    assert.equal(await rig.measure(), 1);
    assert.equal(rig.backlog.isClosed, false);
    assert.equal(enteredCount, 1);
    assert.equal(await rig.measure(), 0);
  });

  it('counts messages that are submitted during a measurement', async () => {
    const rig = new Rig({ maxBytes: 1_000, maxMessages: 10 });
    rig.at('s', 5, 10);
    rig.duringMeasurement = () => rig.backlog.submitted(4, 1);
    await rig.measure();
    assert.equal(rig.backlog.isClosed, false);
    rig.backlog.submitted(1, 1);
    assert.equal(rig.backlog.isClosed, true);
  });

  it('is repeated if the limit changed meanwhile', async () => {
    const rig = new Rig({ maxBytes: 10 });
    rig.at('s', 5, 10);
    rig.duringMeasurement = () => {
      rig.duringMeasurement = () => {};
      rig.topic.config = { ...rig.topic.config, backlogLimit: { maxBytes: 60, maxMessages: 0 } };
      rig.backlog.limitChanged();
    };
    await rig.measure();
    assert.equal(rig.backlog.isClosed, true, 'by the old limit');
    assert.equal(await rig.measure(), 1);
    assert.equal(rig.backlog.isClosed, false);
  });

  it('is repeated if the limit was lowered meanwhile, even if there was room by the old one', async () => {
    const rig = new Rig({ maxBytes: 1_000 });
    rig.at('s', 5, 10);
    rig.duringMeasurement = () => {
      rig.duringMeasurement = () => {};
      rig.topic.config = { ...rig.topic.config, backlogLimit: { maxBytes: 40, maxMessages: 0 } };
      rig.backlog.limitChanged();
    };
    await rig.measure();
    assert.equal(await rig.measure(), 1);
    assert.equal(rig.backlog.isClosed, true);
    assert.equal(await rig.measure(), 0);
  });

  it('is not repeated without a reason', async () => {
    const rig = new Rig({ maxBytes: 40 });
    rig.at('s', 5, 10);
    assert.equal(await rig.measure(), 1);
    assert.equal(rig.backlog.isClosed, true);
    assert.equal(await rig.measure(), 0, 'nothing was settled');
    rig.backlog.settled();
    rig.at('s', 9, 10);
    rig.duringMeasurement = () => rig.backlog.settled();
    assert.equal(await rig.measure(), 1);
    assert.equal(rig.backlog.isClosed, false);
    assert.equal(await rig.measure(), 0, 'there is room, whatever was settled meanwhile');
  });

  it('that fails holds no producer, and is logged', async () => {
    const rig = new Rig({ maxBytes: 10 });
    rig.at('s', 5, 10);
    await rig.measure();
    assert.equal(rig.backlog.isClosed, true);
    rig.duringMeasurement = () => {
      throw new Error('damaged');
    };
    rig.backlog.settled();
    await rig.measure();
    assert.equal(rig.backlog.isClosed, false);
    assert.deepEqual(rig.logged, ['orders: the backlog could not be measured']);
  });

  it('of a topic that is deleted meanwhile admits everything that waits, and logs nothing', async () => {
    for (const fails of [false, true]) {
      const rig = new Rig({ maxBytes: 10 });
      rig.at('s', 5, 5);
      await rig.measure();
      let enteredCount = 0;
      rig.backlog.wait(() => enteredCount++);
      rig.backlog.settled();
      rig.asked.length = 0;
      rig.duringMeasurement = () => {
        rig.topic.isDeleted = true;
        if (fails) throw new Error('deleted');
      };
      await rig.measure();
      assert.deepEqual([rig.backlog.isClosed, enteredCount, rig.logged], [false, 1, []]);
      assert.equal(rig.asked.length, 1, 'the other partition is not read');
    }
  });

  it('refuses with the limits of the topic', () => {
    const { backlog } = new Rig({ maxBytes: 70, maxMessages: 8 });
    const { reason, message, details } = backlog.refusal();
    assert.equal(reason, 'BACKLOG_FULL');
    assert.match(message, /topic "orders"/);
    assert.deepEqual(details.metadata, { topic: 'orders', maxBytes: '70', maxMessages: '8' });
    assert.equal(details.retryAfterMs, limits.backlogRetryAfterMs);
    assert.equal(backlog.holdReason, 'backlog');
  });
});
