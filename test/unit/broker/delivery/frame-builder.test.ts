import assert from 'node:assert/strict';
import { SluiceError } from '../../../../src/base/errors.js';
import type { ConsumerLink } from '../../../../src/broker/delivery/consumer-link.js';
import { FrameBuilder } from '../../../../src/broker/delivery/frame-builder.js';
import type { LaneReaders } from '../../../../src/broker/delivery/lane-readers.js';
import { hashKey } from '../../../../src/core/routing.js';
import type {
  Delivery,
  Fetch,
  LeasedRun,
  ReadRun,
  SubscriptionState,
  Wait,
} from '../../../../src/core/types.js';
import type { StoredRun } from '../../../../src/storage/types.js';
import { encodeBatch } from '../../../simulation/messages.js';

const subscriptionId = 4;

/** Messages with these keys. */
function runOf(firstOffset: number, keys: readonly string[], targetSubscriptionId = 0): StoredRun {
  const entries = keys.map((key) => encodeBatch([{ id: 'm', key, padding: 0 }]).source);
  let end = 0;
  const ends = Uint32Array.from(entries, ({ length }) => (end += length));
  const place = { partition: 0, firstOffset, count: keys.length, publishTimeMs: 1, producerId: '' };
  return { ...place, targetSubscriptionId, messages: Buffer.concat(entries), ends };
}

/** So many messages without a key. */
function plainRun(firstOffset: number, count: number, targetSubscriptionId = 0): StoredRun {
  return runOf(firstOffset, new Array<string>(count).fill(''), targetSubscriptionId);
}

const messageBytes = plainRun(0, 1).messages.length;

function fetchOf(partition: number, offset = 0): Fetch {
  return { kind: 'fetch', partition, offset, epoch: 1 };
}

const caughtUp: Wait = { kind: 'wait', reason: 'caughtUp' };

/** A frame builder over a subscription state that asks for these reads, one after another. */
class Rig {
  /** What `lease` was called with. */
  readonly leased: { fetch: Fetch; runs: readonly ReadRun[] }[] = [];
  readonly abandoned: Fetch[] = [];
  readonly asked: [partition: number, offset: number, maxBytes: number][] = [];
  readonly waits: string[] = [];
  readonly link: { canSend: boolean; isOpen: boolean; readsUnderWay: number; nextFrameBytes: number };
  readonly builder: FrameBuilder;
  /** Chooses what is leased of the runs; all of them if it is not set. */
  choose: ((runs: readonly ReadRun[]) => LeasedRun[] | undefined) | undefined;
  onRead: () => void = () => {};
  #deliveryId = 10;

  constructor(
    fetches: readonly Fetch[],
    read: (partition: number) => readonly StoredRun[] | Promise<readonly StoredRun[]>,
    options: { isOrderedByKey?: boolean; nextFrameBytes?: number; mostReads?: number } = {},
  ) {
    const { isOrderedByKey = false, nextFrameBytes = 1_000, mostReads = Number.POSITIVE_INFINITY } = options;
    const left = [...fetches];
    const state = {
      nextFetch: () => left.shift() ?? caughtUp,
      lease: (_sessionId: string, fetch: Fetch, runs: readonly ReadRun[]) => this.#lease(fetch, runs),
      abandon: (_sessionId: string, fetch: Fetch) => this.abandoned.push(fetch),
    };
    const readers = {
      read: (partition: number, offset: number, maxBytes: number) => {
        this.asked.push([partition, offset, maxBytes]);
        this.onRead();
        return read(partition);
      },
    };
    this.link = {
      isOpen: true,
      readsUnderWay: 0,
      nextFrameBytes,
      get canSend() {
        return this.readsUnderWay < mostReads;
      },
      ...{ sessionId: 's', waitFor: (reason: string) => this.waits.push(reason) },
    };
    this.builder = new FrameBuilder(
      state as unknown as SubscriptionState,
      readers as unknown as LaneReaders,
      { monotonicMs: () => 0 } as never,
      subscriptionId,
      isOrderedByKey,
    );
  }

  collect() {
    return this.builder.collect(this.link as unknown as ConsumerLink);
  }

  fromRead(fetch: Fetch, runs: readonly StoredRun[]) {
    return this.builder.fromRead(this.link as unknown as ConsumerLink, fetch, runs);
  }

  #lease(fetch: Fetch, runs: readonly ReadRun[]): Delivery | undefined {
    this.leased.push({ fetch, runs });
    const all = runs.map(({ count }, run) => ({ run, from: 0, to: count, attempt: 1 }));
    const leasedRuns = this.choose === undefined ? all : this.choose(runs);
    return leasedRuns && { deliveryId: this.#deliveryId++, runs: leasedRuns };
  }
}

describe('the frame builder', () => {
  it('joins what can be read at once of all partitions, and says why there is no more', () => {
    const runs = [plainRun(0, 2), plainRun(7, 3)];
    const rig = new Rig([fetchOf(0), fetchOf(1, 7)], (partition) => [runs[partition]!]);
    const frame = rig.collect();
    assert.deepEqual(frame, {
      runs: [
        { run: runs[0], from: 0, to: 2, attempt: 1, deliveryId: 10 },
        { run: runs[1], from: 0, to: 3, attempt: 1, deliveryId: 11 },
      ],
      deliveryIds: [10, 11],
      byteLength: 5 * messageBytes,
      reads: undefined,
      failure: undefined,
    });
    assert.deepEqual(rig.asked, [
      [0, 0, 1_000],
      [1, 7, 1_000 - 2 * messageBytes],
    ]);
    assert.deepEqual(rig.waits, ['caughtUp']);
    assert.equal(rig.link.readsUnderWay, 0);
  });

  it('ends a frame when it is full, and asks for no other read then', () => {
    const fetches = [fetchOf(0), fetchOf(1), fetchOf(2)];
    const rig = new Rig(fetches, () => [plainRun(0, 2)], { nextFrameBytes: 4 * messageBytes });
    assert.equal(rig.collect().byteLength, 4 * messageBytes);
    assert.deepEqual([rig.asked.length, rig.waits], [2, []]);
    const larger = new Rig(fetches, () => [plainRun(0, 2)], { nextFrameBytes: 4 * messageBytes + 1 });
    assert.equal(larger.collect().byteLength, 5 * messageBytes, 'one message always fits');
    assert.equal(larger.asked[2]![2], 1);
  });

  it('counts the bytes of the messages that were leased, and of no others', () => {
    const run = runOf(0, ['', 'a', 'bb', 'ccc']);
    const rig = new Rig([fetchOf(0)], () => [run]);
    rig.choose = () => [
      { run: 0, from: 0, to: 1, attempt: 1 },
      { run: 0, from: 2, to: 4, attempt: 3 },
    ];
    const frame = rig.collect();
    const { ends } = run;
    assert.equal(frame.byteLength, ends[0]! + ends[3]! - ends[1]!);
    assert.deepEqual(frame.deliveryIds, [10]);
    assert.deepEqual(
      frame.runs.map(({ from, to, attempt }) => [from, to, attempt]),
      [
        [0, 1, 1],
        [2, 4, 3],
      ],
    );
  });

  it('goes on when nothing of a read was leased', () => {
    const rig = new Rig([fetchOf(0), fetchOf(1)], () => [plainRun(0, 1)]);
    rig.choose = () => undefined;
    assert.deepEqual(rig.collect(), {
      runs: [],
      deliveryIds: [],
      byteLength: 0,
      reads: undefined,
      failure: undefined,
    });
    assert.deepEqual([rig.leased.length, rig.waits], [2, ['caughtUp']]);
  });

  it('starts other reads, counts them, and starts no more than the link may have', async () => {
    const run = plainRun(0, 2);
    const fetches = [fetchOf(0), fetchOf(1), fetchOf(2), fetchOf(3)];
    const rig = new Rig(fetches, (partition) => (partition === 1 ? [run] : Promise.resolve([run])), {
      mostReads: 2,
    });
    const frame = rig.collect();
    assert.deepEqual(
      frame.reads?.map(({ fetch }) => fetch),
      [fetches[0], fetches[2]],
    );
    assert.deepEqual(await frame.reads![1]!.reading, [run]);
    assert.deepEqual(frame.deliveryIds, [10], 'of the read that was answered at once');
    assert.deepEqual([rig.link.readsUnderWay, rig.asked.length, rig.waits], [2, 3, []]);
    assert.deepEqual(rig.abandoned, []);
  });

  it('ends a frame when the session ends meanwhile', () => {
    const rig = new Rig([fetchOf(0), fetchOf(1)], () => [plainRun(0, 1)]);
    rig.onRead = () => {
      rig.link.isOpen = false;
    };
    assert.equal(rig.collect().deliveryIds.length, 1);
    assert.deepEqual([rig.asked.length, rig.waits], [1, []]);
    assert.deepEqual(rig.collect().deliveryIds, []);
    assert.equal(rig.asked.length, 1);
  });

  it('abandons a read that fails at once, and ends the frame with it', () => {
    const damage = new SluiceError('DATA_LOSS', 'damaged');
    const run = plainRun(0, 1);
    const rig = new Rig([fetchOf(0), fetchOf(1), fetchOf(2)], (partition) => {
      if (partition === 1) throw damage;
      return [run];
    });
    const frame = rig.collect();
    assert.deepEqual(frame.deliveryIds, [10], 'what was leased before goes out');
    assert.deepEqual(frame.failure, { partition: 1, error: damage });
    assert.deepEqual(rig.abandoned, [fetchOf(1)]);
    assert.deepEqual([rig.asked.length, rig.waits], [2, []]);
  });

  it('leases a read that has ended up to the next frame', () => {
    const rig = new Rig([], () => [], { nextFrameBytes: 3 * messageBytes });
    const run = plainRun(0, 10);
    const frame = rig.fromRead(fetchOf(0), [run]);
    assert.equal(frame.byteLength, 3 * messageBytes);
    assert.deepEqual(frame.runs, [{ run, from: 0, to: 3, attempt: 1, deliveryId: 10 }]);
  });
});

describe('what a frame builder shows the subscription state', () => {
  const shown = (
    runs: readonly StoredRun[],
    options: ConstructorParameters<typeof Rig>[2] = {},
    offset = 0,
  ) => {
    const rig = new Rig([], () => [], options);
    rig.fromRead(fetchOf(0, offset), runs);
    return rig.leased[0]!.runs;
  };

  it('is the runs as they were read, if they need no change', () => {
    const runs = [plainRun(0, 2), plainRun(2, 3, subscriptionId)];
    assert.equal(shown(runs), runs);
  });

  it('marks runs that are targeted to another subscription, and no others', () => {
    const runs = [plainRun(0, 2), plainRun(2, 3, subscriptionId + 1), plainRun(5, 1, subscriptionId)];
    for (const isOrderedByKey of [false, true]) {
      const [own, elsewhere, targeted] = shown(runs, { isOrderedByKey });
      assert.deepEqual(elsewhere, {
        firstOffset: 2,
        count: 3,
        ends: new Uint32Array(0),
        isTargetedElsewhere: true,
      });
      for (const run of [own, targeted]) assert.equal(run?.isTargetedElsewhere, undefined);
      assert.deepEqual([own?.count, targeted?.count], [2, 1]);
      assert.equal(targeted?.orderingKeys !== undefined, isOrderedByKey);
    }
    assert.equal(shown([runs[0]!, runs[1]!])[0], runs[0]);
  });

  it('has the keys if messages are ordered by key, computed once for a run', () => {
    const run = runOf(3, ['a', '', 'bb', 'a']);
    const rig = new Rig([], () => [], { isOrderedByKey: true });
    for (let read = 0; read < 2; read += 1) rig.fromRead(fetchOf(0, 3), [run]);
    const [first, second] = rig.leased.map(({ runs }) => runs[0]!);
    const numberOf = (key: string) => hashKey(Buffer.from(key), 0, key.length);
    assert.deepEqual(first, {
      firstOffset: 3,
      count: 4,
      ends: run.ends,
      orderingKeys: Uint32Array.of(numberOf('a'), 0, numberOf('bb'), numberOf('a')),
    });
    assert.equal(second?.orderingKeys, first?.orderingKeys);
    assert.equal(shown([run])[0]?.orderingKeys, undefined);
  });

  it('is cut at the end of the frame, within a run or behind it', () => {
    const runs = [plainRun(0, 4), plainRun(4, 4), plainRun(8, 4)];
    const cutAt = (messages: number, offset = 0) =>
      shown(runs, { nextFrameBytes: messages * messageBytes }, offset).map(({ firstOffset, count, ends }) => {
        assert.equal(ends.length, count);
        return [firstOffset, count];
      });
    assert.deepEqual(cutAt(1), [[0, 1]]);
    assert.deepEqual(cutAt(4), [[0, 4]]);
    assert.deepEqual(cutAt(5), [
      [0, 4],
      [4, 1],
    ]);
    assert.deepEqual(cutAt(2, 3), [
      [0, 4],
      [4, 1],
    ]);
    assert.equal(cutAt(6).length, 3, 'twice as much is not cut');
    const [whole, part] = shown(runs, { nextFrameBytes: 5 * messageBytes });
    assert.equal(whole, runs[0]);
    assert.notEqual(part, runs[1]);
    assert.equal(runs[1]!.count, 4, 'the run that was read stays as it is');
  });
});
