import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { silentLogger } from '../../../../src/base/logger.js';
import type { BacklogLimit } from '../../../../src/base/model.js';
import { Backlog } from '../../../../src/broker/admission/backlog.js';
import type { Alarm, Sleeper } from '../../../../src/broker/alarm.js';
import type { Topic } from '../../../../src/broker/topics/topic.js';
import type { Storage } from '../../../../src/storage/types.js';

/** A topic whose one subscription is at its beginning, with measuring in the hands of the test. */
class Rig {
  readonly backlog: Backlog;
  readonly #topic: { config: { partitionCount: number; backlogLimit: BacklogLimit } };
  readonly #asked: Sleeper[] = [];
  #measured: (bytesBehind: number) => void = () => {};

  constructor(backlogLimit: BacklogLimit) {
    const subscription = { acknowledgedOffset: () => 0 };
    this.#topic = {
      config: { partitionCount: 1, backlogLimit },
      ...{ name: 't', topicId: 1, isDeleted: false, subscriptions: new Map([['s', subscription]]) },
    };
    const storage = {
      extent: () => ({ firstOffset: 0, endOffset: 10, bytes: 0 }),
      bytesFrom: () =>
        new Promise<number>((resolve) => {
          this.#measured = resolve;
        }),
    };
    this.backlog = new Backlog(this.#topic as unknown as Topic, {
      storage: storage as unknown as Storage,
      alarm: { set: (sleeper: Sleeper) => this.#asked.push(sleeper) } as unknown as Alarm,
      logger: silentLogger,
      clock: { monotonicMs: () => 0 },
    });
  }

  setLimit(backlogLimit: BacklogLimit): void {
    this.#topic.config = { ...this.#topic.config, backlogLimit };
    this.backlog.limitChanged();
  }

  /** Rings the alarm, if it was set. */
  ring(): void {
    for (const sleeper of this.#asked.splice(0)) sleeper.wake(0);
  }

  async answer(bytesBehind: number): Promise<void> {
    this.#measured(bytesBehind);
    await setImmediate();
  }
}

const limit = (maxBytes: number): BacklogLimit => ({ maxBytes, maxMessages: 0, whenFull: 'block' });

describe('Backlog', () => {
  it('is full when the slowest subscription is too far behind, and lets in who waits when it is not', async () => {
    const rig = new Rig(limit(100));
    rig.ring();
    await rig.answer(150);
    assert.equal(rig.backlog.isClosed, true);
    let entered = 0;
    rig.backlog.wait(() => entered++);
    rig.backlog.settled();
    rig.ring();
    await rig.answer(50);
    assert.equal(rig.backlog.isClosed, false);
    assert.equal(entered, 1);
    assert.equal(rig.backlog.waitingCount, 0);
  });

  it('takes off what is published since it was measured', async () => {
    const rig = new Rig(limit(100));
    rig.ring();
    await rig.answer(50);
    rig.backlog.submitted(1, 49);
    assert.equal(rig.backlog.isClosed, false);
    rig.backlog.submitted(1, 1);
    assert.equal(rig.backlog.isClosed, true);
  });

  it('holds no stream by a limit that was lifted while it was being measured', async () => {
    const rig = new Rig(limit(100));
    rig.ring();
    rig.setLimit(limit(0));
    await rig.answer(150);
    let entered = 0;
    if (rig.backlog.isClosed) rig.backlog.wait(() => entered++);
    else entered++;
    rig.ring();
    await setImmediate();
    assert.equal(rig.backlog.isClosed, false);
    assert.equal(entered, 1);
  });

  it('admits no stream that has given up', async () => {
    const rig = new Rig(limit(100));
    rig.ring();
    await rig.answer(150);
    let entered = 0;
    const giveUp = rig.backlog.wait(() => entered++);
    giveUp();
    rig.backlog.release();
    assert.equal(entered, 0);
  });
});
