import assert from 'node:assert/strict';
import { SluiceError } from '../../../src/base/errors.js';
import { limits } from '../../../src/base/limits.js';
import { createRandom } from '../../../src/base/random.js';
import { Engine, type Scan } from '../../../src/storage/engine/engine.js';
import type { Append } from '../../../src/storage/types.js';
import {
  append,
  closeAll,
  commit,
  createHarness,
  createTopic,
  payloads,
  readAll,
  VirtualWall,
} from './harness.js';

function withReason(reason: SluiceError['reason'], text = /./) {
  return (error: unknown) => {
    assert(error instanceof SluiceError, String(error));
    assert.equal(error.reason, reason);
    assert.match(error.message, text);
    return true;
  };
}

describe('storage: the log', () => {
  afterEach(closeAll);

  it('gives offsets at once and reads back what was appended, byte for byte', async () => {
    const { storage, events } = await createHarness();
    const topicId = await createTopic(storage, 'orders', 2);
    const big = 'x'.repeat(700_000);
    const committed = commit(storage, {
      appends: [
        append(topicId, 0, ['a', 'b']),
        append(topicId, 1, ['c', '', big]),
        append(topicId, 0, ['d'], 'p'),
      ],
    });
    assert.deepEqual(storage.extent(topicId, 0), { firstOffset: 0, endOffset: 0, bytes: 0 });
    assert.deepEqual(await committed, [0, 0, 2]);
    assert.equal(storage.extent(topicId, 0).endOffset, 3);
    assert.deepEqual(events, [`${topicId}/0:3`, `${topicId}/1:3`]);

    const runs = storage.openReader(topicId, 0).read(0, 1_000_000);
    assert(Array.isArray(runs), 'the tail answers at once');
    assert.deepEqual(payloads(runs), ['a', 'b', 'd']);
    assert.deepEqual(
      runs.map(({ firstOffset, count, producerId }) => ({ firstOffset, count, producerId })),
      [
        { firstOffset: 0, count: 2, producerId: '' },
        { firstOffset: 2, count: 1, producerId: 'p' },
      ],
    );
    assert.deepEqual(payloads(await readAll(storage.openReader(topicId, 1), 0)), ['c', '', big]);
  });

  it('calls back in the order of submission, then tells which partitions have grown, once each', async () => {
    const { storage, events } = await createHarness();
    const topicId = await createTopic(storage, 'orders', 2);
    const done = new Promise<void>((resolve) => {
      for (let index = 0; index < 5; index++) {
        storage.submit({
          durability: index % 2 === 0 ? 'synced' : 'written',
          changes: [append(topicId, index % 2, ['m'])],
          onCommitted: () => events.push(`committed ${index}`),
        });
        assert.equal(events.length, 0, 'never from within submit');
      }
      storage.submit({ durability: 'written', onCommitted: resolve });
    });
    await done;
    await commit(storage, {});
    assert.deepEqual(events, [
      ...[0, 1, 2, 3, 4].map((index) => `committed ${index}`),
      `${topicId}/0:3`,
      `${topicId}/1:2`,
    ]);
  });

  it('reads the same from tail and disk, from any offset, in pieces of any size, after a restart too', async () => {
    const random = createRandom(42);
    const pick = (count: number): number => Math.floor(random.next() * count);
    const harness = await createHarness();
    const topicId = await createTopic(harness.storage, 'orders', 2);
    const sent: string[][] = [[], []];
    const commits: Promise<unknown>[] = [];
    for (let round = 0; round < 300; round++) {
      const appends: Append[] = Array.from({ length: 1 + pick(3) }, () => {
        const partition = pick(2);
        const messages = Array.from({ length: 1 + pick(20) }, () =>
          `${sent[partition]!.length} `.padEnd(pick(9_000)),
        );
        sent[partition]!.push(...messages);
        return append(topicId, partition, messages, ['', 'p', 'q'][pick(3)]);
      });
      commits.push(commit(harness.storage, { appends }));
      if (pick(3) === 0) await commits.at(-1);
    }
    await Promise.all(commits);

    const check = async (): Promise<void> => {
      const { storage } = harness;
      for (const partition of [0, 1]) {
        const all = sent[partition]!;
        assert.equal(storage.extent(topicId, partition).endOffset, all.length);
        const reader = storage.openReader(topicId, partition);
        assert.deepEqual(payloads(await readAll(reader, 0, 1 + pick(100_000))), all);
        for (let time = 0; time < 20; time++) {
          const offset = pick(all.length);
          const runs = await reader.read(offset, 1 + pick(300_000));
          const { firstOffset, count } = runs[0]!;
          assert(firstOffset <= offset && offset < firstOffset + count);
          const found = payloads(runs);
          assert.deepEqual(found, all.slice(firstOffset, firstOffset + found.length));
        }
        assert.deepEqual(await reader.read(all.length, 1_000), []);
        reader.close();
        reader.close();
      }
    };
    await check();
    await harness.reopen();
    await check();
    // A tail that is much shorter than the log: readers cross from the disk into it.
    await harness.reopen({ tailBytes: 100_000 });
    for (const partition of [0, 1]) {
      for (let time = 0; time < 30; time++) {
        sent[partition]!.push(`late ${time}`.padEnd(5_000));
        await commit(harness.storage, { appends: [append(topicId, partition, sent[partition]!.slice(-1))] });
      }
    }
    await check();
  });

  it('uses the memory of its tail again, and never shows other bytes to who has kept a run', async () => {
    const { storage } = await createHarness({ tailBytes: 512 * 1024 });
    const topicId = await createTopic(storage, 'orders');
    const round = (index: number) => String(index).repeat(200_000);
    await commit(storage, { appends: [append(topicId, 0, [round(0)])] });
    const kept = storage.openReader(topicId, 0).read(0, 1);
    assert(Array.isArray(kept), 'the tail answers at once');
    let isDetached = false;
    for (let index = 1; index < 10; index++) {
      await commit(storage, { appends: [append(topicId, 0, [round(index)])] });
      isDetached = kept[0]!.messages.length === 0;
      if (isDetached) break;
      assert.deepEqual(payloads(kept), [round(0)]);
    }
    assert(isDetached, 'the tail has room for two rounds: the memory of the first was needed');
    const all = await readAll(storage.openReader(topicId, 0), 0);
    assert.deepEqual(payloads(all.slice(0, 1)), [round(0)], 'from the disk');
  });

  it('serves many readers at once, with few reads under way', async () => {
    const { storage } = await createHarness({ tailBytes: 0, concurrentReads: 2 });
    const topicId = await createTopic(storage, 'orders', 4);
    const sent = Array.from({ length: 400 }, (_, index) => `${index}`.padEnd(5_000));
    for (let at = 0; at < sent.length; at += 20) {
      const messages = sent.slice(at, at + 20);
      await commit(storage, {
        appends: [0, 1, 2, 3].map((partition) => append(topicId, partition, messages)),
      });
    }
    const reads = Array.from({ length: 40 }, async (_, index) => {
      const runs = await readAll(storage.openReader(topicId, index % 4), index * 5, 20_000);
      return payloads(runs).slice(-(sent.length - index * 5));
    });
    (await Promise.all(reads)).forEach((found, index) => {
      assert.deepEqual(found, sent.slice(index * 5));
    });
  });

  it('follows a log that grows, from behind the tail up to its end', async () => {
    const { storage } = await createHarness({ tailBytes: 50_000 });
    const topicId = await createTopic(storage, 'orders');
    const reader = storage.openReader(topicId, 0);
    const sent: string[] = [];
    const found: string[] = [];
    for (let round = 0; round < 50; round++) {
      for (let index = 0; index < 10; index++) {
        sent.push(`${sent.length}`.padEnd(2_000));
        await commit(storage, { appends: [append(topicId, 0, sent.slice(-1))] });
      }
      // Half as fast as it grows, then all the rest.
      const goal = round < 49 ? found.length + 5 : sent.length;
      while (found.length < goal) {
        const runs = await reader.read(found.length, 4_000);
        found.push(...payloads(runs).slice(found.length - runs[0]!.firstOffset));
      }
    }
    assert.deepEqual(found, sent);
    reader.close();
  });

  it('answers a read that is under way with nothing when its reader is closed, and reads again afterwards', async () => {
    const { storage } = await createHarness({ tailBytes: 0 });
    const topicId = await createTopic(storage, 'orders');
    await commit(storage, { appends: [append(topicId, 0, ['a', 'b'])] });
    const reader = storage.openReader(topicId, 0);
    const read = reader.read(0, 1_000);
    assert(read instanceof Promise);
    reader.close();
    assert.deepEqual(await read, []);
    assert.deepEqual(payloads(await reader.read(0, 1_000)), ['a', 'b']);
  });

  it('lets go of what an idle reader holds', async () => {
    const clock = new VirtualWall(1_000);
    const { storage } = await createHarness({ tailBytes: 0 }, clock);
    const topicId = await createTopic(storage, 'orders');
    await commit(storage, { appends: [append(topicId, 0, ['a', 'b'])] });
    const reader = storage.openReader(topicId, 0);
    const [run] = await reader.read(0, 1_000);
    const again = reader.read(0, 1_000);
    assert(Array.isArray(again) && again[0] === run, 'what was read last is still there');
    clock.fire();
    assert(Array.isArray(reader.read(0, 1_000)), 'it was in use');
    for (let idleMs = 0; idleMs < limits.readerIdleMs; idleMs += limits.scanOpenMs) clock.fire();
    assert(reader.read(0, 1_000) instanceof Promise, 'it was idle: it reads again');
  });

  it('closes its scan while its reader is idle, and continues where it was', async () => {
    const clock = new VirtualWall(1_000);
    const { storage } = await createHarness({ tailBytes: 0 }, clock);
    const topicId = await createTopic(storage, 'orders');
    const sent = Array.from({ length: 40 }, (_, i) => `${i}`.padEnd(40_000, '.'));
    for (const text of sent) await commit(storage, { appends: [append(topicId, 0, [text])] });
    const { scan } = Engine.prototype;
    const open = new Set<Scan>();
    let openedCount = 0;
    Engine.prototype.scan = function (...args) {
      const opened = scan.apply(this, args);
      const { close } = opened;
      opened.close = () => {
        open.delete(opened);
        return close.call(opened);
      };
      open.add(opened);
      openedCount++;
      return opened;
    };
    try {
      const reader = storage.openReader(topicId, 0);
      const found: string[] = [];
      while (found.length < sent.length) {
        found.push(...payloads(await reader.read(found.length, 1)));
        // A scan keeps memtables. What reads ahead just now is done in a moment.
        while (open.size > 0) {
          clock.fire();
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
      assert.deepEqual(found, sent);
      assert(openedCount > 2, 'it was not opened again');
      reader.close();
    } finally {
      Engine.prototype.scan = scan;
    }
  });

  it('finds the first message of a time, and never lets time go back', async () => {
    const clock = new VirtualWall(1_000);
    const harness = await createHarness({ tailBytes: 0 }, clock);
    const topicId = await createTopic(harness.storage, 'orders');
    const at = async (timeMs: number): Promise<void> => {
      clock.nowMs = timeMs;
      await commit(harness.storage, { appends: [append(topicId, 0, ['x', 'y'])] });
    };
    assert.equal(await harness.storage.offsetAt(topicId, 0, 0), 0);
    for (const timeMs of [2_000, 3_000, 3_000, 2_500, 4_000]) await at(timeMs);
    const expected = [
      [0, 0],
      [2_000, 0],
      [2_001, 2],
      [3_000, 2],
      [3_001, 8],
      [4_000, 8],
      [4_001, 10],
    ] as const;
    for (const [timeMs, offset] of expected) {
      assert.equal(await harness.storage.offsetAt(topicId, 0, timeMs), offset, `at ${timeMs}`);
    }
    await harness.reopen();
    await at(1_000);
    const times = (await readAll(harness.storage.openReader(topicId, 0), 0)).map((run) => run.publishTimeMs);
    assert.deepEqual(times, [2_000, 3_000, 3_000, 3_000, 4_000, 4_000]);
  });

  it('removes what is below a floor, and gives no offset twice when all is removed', async () => {
    const harness = await createHarness({ tailBytes: 0 });
    let { storage } = harness;
    const topicId = await createTopic(storage, 'orders', 2);
    for (let index = 0; index < 10; index++) {
      await commit(storage, {
        appends: [append(topicId, 0, [`${index}a`, `${index}b`]), append(topicId, 1, ['-'])],
      });
    }
    const { bytes } = storage.extent(topicId, 0);
    assert.equal(bytes, 10 * 2 * 4);
    assert.equal(await storage.offsetOfNewest(topicId, 0, bytes), 0);
    assert.equal(await storage.offsetOfNewest(topicId, 0, bytes - 1), 1);
    assert.equal(await storage.offsetOfNewest(topicId, 0, bytes - 5), 2);
    assert.equal(await storage.offsetOfNewest(topicId, 0, 4), 19);
    assert.equal(await storage.offsetOfNewest(topicId, 0, 3), 20);
    assert.equal(await storage.offsetOfNewest(topicId, 0, 0), 20);
    for (const [offset, rest] of [
      [0, 80],
      [1, 80],
      [2, 72],
      [19, 8],
      [20, 0],
    ] as const) {
      assert.equal(await storage.bytesFrom(topicId, 0, offset), rest, `from ${offset}`);
    }

    await storage.removeBelow(topicId, 0, 7);
    assert.deepEqual(storage.extent(topicId, 0), { firstOffset: 7, endOffset: 20, bytes: 7 * 2 * 4 });
    await storage.removeBelow(topicId, 0, 3);
    assert.equal(storage.extent(topicId, 0).firstOffset, 7, 'never down');
    assert.throws(() => storage.openReader(topicId, 0).read(6, 1), withReason('OFFSET_OUT_OF_RANGE', /7/));
    const [first] = await storage.openReader(topicId, 0).read(7, 1);
    assert.equal(first!.firstOffset, 6);
    assert.equal(storage.extent(topicId, 1).firstOffset, 0);

    storage = await harness.reopen();
    assert.deepEqual(storage.extent(topicId, 0), { firstOffset: 7, endOffset: 20, bytes: 7 * 2 * 4 });
    await storage.removeBelow(topicId, 0, 1_000);
    assert.deepEqual(storage.extent(topicId, 0), { firstOffset: 20, endOffset: 20, bytes: 0 });
    storage = await harness.reopen();
    assert.deepEqual(await commit(storage, { appends: [append(topicId, 0, ['next'])] }), [20]);
    assert.deepEqual(payloads(await readAll(storage.openReader(topicId, 0), 20)), ['next']);
    assert.equal((await readAll(storage.openReader(topicId, 1), 0)).length, 10);
  });

  it('does not take for damage what is removed while a read waits for its turn', async () => {
    const { storage } = await createHarness({ tailBytes: 0, concurrentReads: 1 });
    const topicId = await createTopic(storage, 'orders', 2);
    const big = Buffer.alloc(500_000);
    await commit(storage, { appends: [append(topicId, 0, ['a', 'b']), append(topicId, 1, [big])] });
    await commit(storage, { appends: [append(topicId, 0, ['c'])] });
    const ahead = Array.from({ length: 100 }, () => storage.openReader(topicId, 1).read(0, 1));
    const read = storage.openReader(topicId, 0).read(0, 1);
    assert(read instanceof Promise);
    const outcome = read.catch((error: SluiceError) => error.reason);
    // The end of the log needs no look at the disk, and so no turn.
    await storage.removeBelow(topicId, 0, 3);
    const found = await outcome;
    // Which of the two depends on whether the turn came first.
    assert(found === 'OFFSET_OUT_OF_RANGE' || Array.isArray(found), String(found));
    await Promise.all(ahead);
  });

  it('says when it has no room, and when there is room again', async () => {
    const { storage, events } = await createHarness({ writerQueueBytes: 10_000 });
    const topicId = await createTopic(storage, 'orders');
    const committed = commit(storage, { appends: [append(topicId, 0, ['x'.repeat(20_000)])] });
    assert.equal(storage.hasRoom, false);
    assert(storage.queuedBytes > 20_000);
    await committed;
    await commit(storage, {});
    assert.deepEqual(events, [`${topicId}/0:1`, 'room']);
    assert.equal(storage.hasRoom, true);
    assert.equal(storage.queuedBytes, 0);
  });

  it('refuses what does not exist, and changes nothing then', async () => {
    const { storage } = await createHarness();
    const topicId = await createTopic(storage, 'orders');
    const good = append(topicId, 0, ['m']);
    assert.throws(
      () => storage.submit({ durability: 'synced', changes: [good, { ...good, topicId: 99 }] }),
      withReason('TOPIC_NOT_FOUND'),
    );
    assert.throws(
      () => storage.submit({ durability: 'synced', changes: [good, { ...good, partition: 1 }] }),
      withReason('UNKNOWN_PARTITION'),
    );
    assert.throws(() =>
      storage.submit({ durability: 'synced', changes: [good, { ...good, byteLength: 1 }] }),
    );
    assert.throws(() => storage.extent(topicId, 1), withReason('UNKNOWN_PARTITION'));
    assert.throws(() => storage.openReader(99, 0), withReason('TOPIC_NOT_FOUND'));
    assert.deepEqual(await commit(storage, { appends: [good] }), [0]);
  });

  it('waits at closing for what was submitted, and takes nothing afterwards', async () => {
    const harness = await createHarness({ tailBytes: 0 });
    const topicId = await createTopic(harness.storage, 'orders');
    const reader = harness.storage.openReader(topicId, 0);
    const committed = commit(harness.storage, {
      durability: 'written',
      appends: [append(topicId, 0, ['last'])],
    });
    const closing = harness.storage.close();
    assert.throws(() => harness.storage.submit({ durability: 'synced' }), withReason('STORAGE_FAILED'));
    assert.deepEqual(await committed, [0]);
    await closing;
    assert.throws(() => reader.read(0, 1), withReason('STORAGE_FAILED', /closed/));
    const storage = await harness.open();
    assert.deepEqual(payloads(await readAll(storage.openReader(topicId, 0), 0)), ['last']);
  });
});
