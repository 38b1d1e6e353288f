import assert from 'node:assert/strict';
import { SluiceError } from '../../../../src/base/errors.js';
import { limits } from '../../../../src/base/limits.js';
import { partitionOfKey } from '../../../../src/core/routing.js';
import type { Transaction } from '../../../../src/storage/types.js';
import { foreign, type Letter, lettersOf, Rig } from './redrive-rig.js';

const threePages = [[lettersOf('a', 'b', 'c'), lettersOf('d', 'e', 'f'), lettersOf('g', 'h')]];

describe('a redrive', () => {
  it('sends back all pages of all partitions, and notes each page', async () => {
    const rig = new Rig([...threePages, [lettersOf('x'), lettersOf('y')]]);
    assert.equal(await rig.run(), undefined);
    assert.deepEqual(rig.sent, [
      { ids: [['a', 'b', 'c']], note: [0, 3] },
      { ids: [['d', 'e', 'f']], note: [0, 6] },
      { ids: [['g', 'h']], note: [0, 8] },
      { ids: [['x']], note: [1, 1] },
      { ids: [['y']], note: [1, 2] },
    ]);
    assert.deepEqual(rig.progress[0], [0, 10], 'once everything is counted');
    assert.deepEqual(rig.progress.at(-1), [10, 0]);
    assert.deepEqual(rig.events, ['begins', 'follows', 'unfollows', 'ends', 'ended']);
    assert.deepEqual([rig.openReaders, rig.timers.length], [0, 0]);
    assert.deepEqual(rig.pending, { bytes: 0, messages: 0 });
  });

  it('ends at its limit in the middle of a page, and notes the last message that it sent', async () => {
    const rig = new Rig(threePages, { limit: 4 });
    assert.equal(await rig.run(), undefined);
    assert.deepEqual(rig.sent, [
      { ids: [['a', 'b', 'c']], note: [0, 3] },
      { ids: [['d']], note: [0, 4] },
    ]);
    assert.deepEqual(rig.progress.at(-1), [4, 4]);
    assert.equal(rig.openReaders, 0);
  });

  it('ends at its limit at the end of a page, and reads no other page and no other partition', async () => {
    const rig = new Rig([...threePages, [lettersOf('x')]], { limit: 6 });
    assert.equal(await rig.run(), undefined);
    assert.deepEqual(
      rig.sent.map(({ note }) => note),
      [
        [0, 3],
        [0, 6],
      ],
    );
    const counting: [number, number][] = [
      [0, 0],
      [0, 3],
      [0, 6],
      [1, 0],
    ];
    assert.deepEqual(rig.reads, [...counting, [0, 0], [0, 3]]);
    assert.deepEqual(rig.progress.at(-1), [6, 3]);
    assert.equal(rig.openReaders, 0);
  });

  it('sends back everything if the limit is larger', async () => {
    const rig = new Rig(threePages, { limit: 9 });
    await rig.run();
    assert.deepEqual(rig.progress.at(-1), [8, 0]);
  });

  it('skips the dead letters of others, and notes that they are behind it with the last of its own', async () => {
    const rig = new Rig([[[foreign, { id: 'a' }, foreign], [foreign], [foreign, { id: 'b' }]]]);
    await rig.run();
    assert.deepEqual(rig.sent, [
      { ids: [['a']], note: [0, 3] },
      { ids: [['b']], note: [0, 6] },
    ]);
    assert.deepEqual(rig.progress.at(-1), [2, 0]);
  });

  it('continues at the noted offset, but not below the first message that is kept', async () => {
    const rig = new Rig(threePages);
    rig.notedOffsets = new Map([[0, 5]]);
    await rig.run();
    assert.deepEqual(
      rig.sent.map(({ ids }) => ids),
      [[['f']], [['g', 'h']]],
    );
    const other = new Rig(threePages);
    other.notedOffsets = new Map([[0, 5]]);
    other.firstOffset = 7;
    await other.run();
    assert.deepEqual(
      other.sent.map(({ ids }) => ids),
      [[['h']]],
    );
    assert.deepEqual(other.progress.at(-1), [1, 0]);
  });

  it('only counts in a dry run, up to its limit, and ends no other redrive', async () => {
    for (const [limit, expected] of [
      [0, [8, 0]],
      [5, [5, 3]],
      [20, [8, 0]],
    ] as const) {
      const rig = new Rig(threePages, { isDryRun: true, limit });
      assert.equal(await rig.run(), undefined);
      assert.deepEqual(rig.progress.at(-1), expected);
      assert.deepEqual(rig.sent, []);
      assert.equal(rig.events.includes('begins'), false);
      assert.equal(rig.openReaders, 0);
    }
  });

  it('has nothing to send without a dead-letter topic', async () => {
    for (const isDryRun of [false, true]) {
      const rig = new Rig(threePages, { isDryRun });
      rig.hasDeadLetterTopic = false;
      assert.equal(await rig.run(), undefined);
      assert.deepEqual(rig.progress, [[0, 0]]);
      assert.deepEqual([rig.sent, rig.reads], [[], []]);
    }
  });

  it('sends a key to its partition, and the others to the partition that they came from', async () => {
    const letters: Letter[] = [
      { id: 'a', key: 'k', originPartition: 1 },
      { id: 'b', originPartition: 2 },
      { id: 'c', originPartition: 3 },
      { id: 'd', originPartition: 2 },
    ];
    const rig = new Rig([[letters]], {}, 3);
    await rig.run();
    const expected: string[][] = [[], [], []];
    expected[partitionOfKey(Buffer.from('k'), 0, 1, 3)]!.push('a');
    expected[2]!.push('b', 'd');
    // The topic has no such partition any more.
    expected[0]!.push('c');
    assert.deepEqual(
      Array.from({ length: 3 }, (_, partition) => rig.sent[0]!.ids[partition] ?? []),
      expected,
    );
  });

  it('sends small batches at a rate, and notes each of them', async () => {
    // A burst of two messages each 100 ms.
    const rig = new Rig([[lettersOf('a', 'b', 'c'), lettersOf('d')]], { ratePerSecond: 20 });
    let wait = rig.nextWait();
    rig.redrive.start();
    await wait;
    assert.deepEqual(rig.sent, [{ ids: [['a', 'b']], note: [0, 2] }]);
    assert.deepEqual(rig.timers.map(({ delayMs }) => delayMs).sort(), [100, limits.redriveProgressEveryMs]);
    wait = rig.nextWait();
    rig.fire(100);
    await wait;
    assert.deepEqual(rig.sent.slice(1), [{ ids: [['c']], note: [0, 3] }]);
    rig.fire(50);
    assert.equal(await rig.ended, undefined);
    assert.deepEqual(rig.sent.slice(2), [{ ids: [['d']], note: [0, 4] }]);
    assert.deepEqual(rig.timers, []);
  });

  it('counts messages once they are durable, and as pending until then', async () => {
    const rig = new Rig(threePages);
    const submitted = new Promise<Transaction>((resolve) => {
      rig.onSubmit = resolve;
    });
    rig.redrive.start();
    const transaction = await submitted;
    rig.onSubmit = undefined;
    await new Promise(setImmediate);
    const [append] = transaction.changes!;
    assert(append?.kind === 'append');
    assert.deepEqual(rig.pending, { bytes: append.byteLength, messages: 3 });
    rig.fire(limits.redriveProgressEveryMs);
    assert.deepEqual(rig.progress.at(-1), [0, 8]);
    transaction.onCommitted!();
    await rig.ended;
    assert.deepEqual(rig.pending, { bytes: 0, messages: 0 });
    assert.deepEqual(rig.progress.at(-1), [8, 0]);
  });

  it('waits for the backlog, and reports its progress meanwhile, again and again', async () => {
    const rig = new Rig(threePages);
    rig.isBacklogClosed = true;
    const wait = rig.nextWait();
    rig.redrive.start();
    await wait;
    const before = rig.progress.length;
    rig.fire(limits.redriveProgressEveryMs);
    rig.fire(limits.redriveProgressEveryMs);
    assert.deepEqual(rig.progress.slice(before), [
      [0, 8],
      [0, 8],
    ]);
    assert.deepEqual(rig.sent, []);
    const again = rig.nextWait();
    rig.atBacklog.shift()!();
    await again;
    assert.deepEqual(rig.sent, [], 'the backlog was filled again');
    rig.isBacklogClosed = false;
    rig.atBacklog.shift()!();
    await rig.ended;
    assert.deepEqual(rig.progress.at(-1), [8, 0]);
  });

  it('waits once at the gate for each batch, even if the gate stays closed', async () => {
    const rig = new Rig([[lettersOf('a'), lettersOf('b')]]);
    rig.isGateClosed = true;
    let wait = rig.nextWait();
    rig.redrive.start();
    await wait;
    assert.deepEqual(rig.sent, []);
    wait = rig.nextWait();
    rig.atGate.shift()!();
    await wait;
    assert.equal(rig.sent.length, 1);
    rig.atGate.shift()!();
    await rig.ended;
    assert.equal(rig.sent.length, 2);
  });

  it('ends once, with the error that stops it, and gives up waiting', async () => {
    const stopped = new SluiceError('SUBSCRIPTION_DELETED', 'deleted');
    const rig = new Rig(threePages);
    rig.isBacklogClosed = true;
    const wait = rig.nextWait();
    rig.redrive.start();
    await wait;
    rig.redrive.stop(stopped);
    assert.equal(await rig.ended, stopped);
    rig.redrive.topicEnded(new SluiceError('TOPIC_DELETED', 'deleted'));
    rig.redrive.close();
    await new Promise(setImmediate);
    assert.deepEqual(rig.events, ['begins', 'follows', 'unfollows', 'ends', 'ended']);
    assert.deepEqual(rig.progress.at(-1), [0, 8]);
    assert.deepEqual(
      [rig.sent.length, rig.atBacklog.length, rig.timers.length, rig.openReaders],
      [0, 0, 0, 0],
    );
  });

  it('reports nothing once it is closed, and closes the scan under way', async () => {
    const rig = new Rig(threePages);
    rig.isGateClosed = true;
    const wait = rig.nextWait();
    rig.redrive.start();
    await wait;
    assert.equal(rig.openReaders, 1);
    const before = rig.progress.length;
    rig.redrive.close();
    assert.equal(rig.openReaders, 0, 'at once');
    await new Promise(setImmediate);
    assert.equal(rig.progress.length, before);
    assert.deepEqual(rig.events, ['begins', 'follows', 'unfollows', 'ends']);
    assert.deepEqual([rig.sent.length, rig.atGate.length, rig.timers.length], [0, 0, 0]);
  });

  it('sends no other batch after it was closed during a commit', async () => {
    const rig = new Rig([...threePages, [lettersOf('x')]]);
    const submitted = new Promise<Transaction>((resolve) => {
      rig.onSubmit = resolve;
    });
    rig.redrive.start();
    const transaction = await submitted;
    const readCount = rig.reads.length;
    rig.redrive.close();
    transaction.onCommitted!();
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    assert.deepEqual([rig.sent.length, rig.openReaders], [1, 0]);
    assert.equal(rig.reads.length, readCount);
    assert.deepEqual(rig.pending, { bytes: 0, messages: 0 });
  });

  it('follows no topic and reads nothing if it is closed at the beginning', async () => {
    const rig = new Rig(threePages);
    rig.redrive.start();
    rig.redrive.close();
    await new Promise(setImmediate);
    assert.deepEqual(rig.events, ['begins', 'ends']);
    assert.deepEqual([rig.reads, rig.sent, rig.timers], [[], [], []]);
  });

  it('ends when the disk is nearly full', async () => {
    const full = new SluiceError('DISK_NEARLY_FULL', 'no room');
    const rig = new Rig(threePages);
    rig.checkDisk = () => {
      throw full;
    };
    assert.equal(await rig.run(), full);
    assert.equal(rig.sent.length, 0);
  });

  it('ends with what the broker or the store refuses', async () => {
    const refused = new SluiceError('DRAINING', 'it drains');
    const rig = new Rig(threePages);
    rig.check = () => {
      throw refused;
    };
    assert.equal(await rig.run(), refused);
    assert.deepEqual([rig.sent.length, rig.openReaders], [0, 0]);
    const failing = new Rig(threePages);
    failing.onSubmit = ({ onFailed }) => onFailed!(new Error('disk'));
    assert.equal((await failing.run())?.reason, 'STORAGE_FAILED');
    assert.deepEqual(failing.progress.at(-1), [0, 8]);
    assert.equal(failing.openReaders, 0);
  });

  it('refuses options without meaning, by name', () => {
    for (const [field, options] of [
      ['limit', { limit: -1 }],
      ['limit', { limit: 1.5 }],
      ['redriveRate', { ratePerSecond: -1 }],
      ['redriveRate', { ratePerSecond: Number.NaN }],
      ['redriveRate', { ratePerSecond: Number.POSITIVE_INFINITY }],
    ] as const) {
      assert.throws(
        () => new Rig(threePages, options),
        (error) =>
          error instanceof SluiceError &&
          error.reason === 'INVALID_FIELD' &&
          JSON.stringify(error.details).includes(field),
        JSON.stringify(options),
      );
    }
    assert(new Rig(threePages, { ratePerSecond: 0.5 }));
  });
});
