import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SluiceError } from '../../src/base/errors.js';
import { readManifest } from '../../src/storage/engine/manifest.js';
import { tableFileName } from '../../src/storage/recovery/database-check.js';
import type { Storage } from '../../src/storage/types.js';
import {
  append,
  closeAll,
  commit,
  createHarness,
  createTopic,
  type Harness,
  payloads,
} from '../integration/storage/harness.js';

/** Payloads by offset. */
async function fill(harness: Harness, topicId: number, count: number, size: number): Promise<string[]> {
  const all = Array.from({ length: count }, (_, index) => `${index}:`.padEnd(size, `${index * 7919}`));
  // One record each.
  for (const payload of all)
    await commit(harness.storage, { durability: 'written', appends: [append(topicId, 0, [payload])] });
  return all;
}

/** Opening writes what the log of the database holds into tables; then changes the largest. */
async function changeTable(harness: Harness, change: (bytes: Buffer) => void): Promise<void> {
  await harness.reopen();
  await harness.storage.close();
  const directory = join(harness.directory, 'db');
  const tables = await Promise.all(
    (await readdir(directory))
      .filter((name) => name.endsWith('.sst'))
      .map(async (name) => ({ path: join(directory, name), size: (await stat(join(directory, name))).size })),
  );
  const { path } = tables.sort((a, b) => b.size - a.size)[0]!;
  const bytes = await readFile(path);
  change(bytes);
  await writeFile(path, bytes);
}

function flipInTable(harness: Harness, part: number): Promise<void> {
  return changeTable(harness, (bytes) => {
    bytes[Math.floor(bytes.length * part)]! ^= 0x10;
  });
}

interface Outcome {
  readonly served: Map<number, string>;
  /** First and last offset. */
  readonly lost: [number, number][];
}

/** Reads on behind what is lost, as often as it takes. */
async function readAround(storage: Storage, topicId: number, maxBytes: number): Promise<Outcome> {
  const { firstOffset, endOffset } = storage.extent(topicId, 0);
  const served = new Map<number, string>();
  const lost: [number, number][] = [];
  const reader = storage.openReader(topicId, 0);
  for (let at = firstOffset; at < endOffset; ) {
    try {
      const runs = await reader.read(at, maxBytes);
      for (const run of runs) {
        for (const [index, payload] of payloads([run]).entries())
          served.set(run.firstOffset + index, payload);
        at = run.firstOffset + run.count;
      }
    } catch (error) {
      assert(error instanceof SluiceError && error.reason === 'DATA_LOSS', String(error));
      const { firstOffset: first, lastOffset: last } = error.details.metadata!;
      lost.push([Number(first), Number(last)]);
      at = Number(last) + 1;
    }
  }
  reader.close();
  return { served, lost };
}

describe('storage: damaged tables', () => {
  afterEach(closeAll);

  for (const { size, count } of [
    { size: 3_000, count: 600 },
    { size: 100, count: 3_000 },
    { size: 150_000, count: 20 },
  ]) {
    it(`lose the record that is altered, and serve all others of its block, at ${size} bytes each`, async () => {
      const harness = await createHarness({ tailBytes: 0 });
      const topicId = await createTopic(harness.storage, 'orders');
      const expected = await fill(harness, topicId, count, size);
      for (const [index, part] of [0.2, 0.5, 0.8].entries()) {
        await flipInTable(harness, part);
        const storage = await harness.open();
        const { served, lost } = await readAround(storage, topicId, 64 * 1024);
        const again = await readAround(storage, topicId, 1);
        assert.deepEqual(again.lost, lost, 'the same again, however much is read at once');
        const lostCount = lost.reduce((sum, [first, last]) => sum + last - first + 1, 0);
        assert(lostCount > 0, 'the bit is in a block of messages');
        assert(lostCount <= index + 1, `${lostCount} of ${count} are lost: ${JSON.stringify(lost)}`);
        assert.equal(served.size + lostCount, count);
        for (const [offset, payload] of served) assert.equal(payload, expected[offset]);
      }
    });
  }

  it('serve what is whole of several blocks in a row that were overwritten', async () => {
    const harness = await createHarness({ tailBytes: 0 });
    const topicId = await createTopic(harness.storage, 'orders');
    const expected = await fill(harness, topicId, 600, 3_000);
    await changeTable(harness, (bytes) => {
      // Each byte of every third KiB of 60 KiB.
      for (let at = 500_000; at < 560_000; at += 3 * 1024) bytes.fill(0x55, at, at + 1024);
    });
    const storage = await harness.open();
    const { served, lost } = await readAround(storage, topicId, 64 * 1024);
    const again = await readAround(storage, topicId, 1);
    assert.deepEqual(again.lost, lost);
    const lostCount = lost.reduce((sum, [first, last]) => sum + last - first + 1, 0);
    // 20 places, each in one or two records; where lengths were hit, the rest of an interval of 16.
    assert(lostCount >= 10 && lostCount <= 40, `${lostCount} are lost: ${JSON.stringify(lost)}`);
    assert.equal(served.size + lostCount, 600);
    for (const [offset, payload] of served) assert.equal(payload, expected[offset]);
  });

  it('lose no record of another table where the first block of a table is damaged', async () => {
    const harness = await createHarness({ tailBytes: 0 });
    const topicId = await createTopic(harness.storage, 'orders');
    const expected = await fill(harness, topicId, 300, 3_000);
    await harness.reopen();
    // The newer table is larger, and stands beside the older one.
    expected.push(...(await fill(harness, topicId, 400, 3_000)));
    await changeTable(harness, (bytes) => (bytes[200]! ^= 0x10));
    const storage = await harness.open();
    const { served, lost } = await readAround(storage, topicId, 64 * 1024);
    assert.deepEqual(lost, [[300, 300]]);
    assert.equal(served.size, 699);
    for (const [offset, payload] of served) assert.equal(payload, expected[offset]);
    const kept = await storage.offsetOfNewest(topicId, 0, 600 * 3_003);
    assert(kept >= 99 && kept <= 101, `the newest 600 messages begin at ${kept}`);
  });

  it('do not keep retention and searches from what lies around the damage', async () => {
    const harness = await createHarness({ tailBytes: 0 });
    const topicId = await createTopic(harness.storage, 'orders');
    await fill(harness, topicId, 600, 3_000);
    await flipInTable(harness, 0.5);
    const storage = await harness.open();
    const { lost } = await readAround(storage, topicId, 64 * 1024);
    const [first, last] = lost[0]!;
    const bytes = 3_000 * 600;
    for (const offset of [first - 1, first, last, last + 1]) {
      const kept = await storage.bytesFrom(topicId, 0, offset);
      assert(Math.abs(kept - (600 - offset) * 3_003) <= 6 * 3_003, `${kept} bytes from ${offset}`);
    }
    assert.equal(await storage.offsetAt(topicId, 0, 0), 0);
    const middle = await storage.offsetOfNewest(topicId, 0, bytes / 2);
    assert(middle >= 290 && middle <= 310, `${middle}`);
    await storage.removeBelow(topicId, 0, first);
    assert.equal(storage.extent(topicId, 0).firstOffset, first);
    await storage.removeBelow(topicId, 0, last + 1);
    assert.deepEqual((await readAround(storage, topicId, 64 * 1024)).lost, []);
  });

  it('are named by a read of a producer, and by the start, and never end the process', async () => {
    const harness = await createHarness();
    const topicId = await createTopic(harness.storage, 'orders');
    const producers = ['a', 'b'].map((producerId) => {
      return { topicId, producerId, epoch: 1, lastSequence: 1, baseSequence: 0 };
    });
    await commit(harness.storage, { appends: [append(topicId, 0, ['m'])], producers });
    await harness.reopen();
    await harness.storage.close();
    await flipInColumn(harness, 'producers');
    const storage = await harness.open({ acceptDataLoss: true });
    await assert.rejects(storage.readProducer(topicId, 'a'), isDataLoss);
    await storage.close();
    await flipInColumn(harness, 'default');
    await assert.rejects(harness.open({ acceptDataLoss: true }), isDataLoss);
  });

  it('refuse the start also where losses are accepted, if the catalog can not be read: ids would be given again', async () => {
    const harness = await createHarness();
    // More than one block: the identity of the store can be read.
    for (let index = 0; index < 200; index++) await createTopic(harness.storage, `topic-${index}`);
    await harness.reopen();
    await harness.storage.close();
    await flipInColumn(harness, 'default');
    for (const acceptDataLoss of [false, true]) {
      await assert.rejects(harness.open({ acceptDataLoss }), (error: Error) => {
        assert(isDataLoss(error) && !error.message.includes('--accept-data-loss'), error.message);
        return /the catalog can't be read to its end/.test(error.message);
      });
    }
  });
});

/** The first block of the only table of a column family. */
async function flipInColumn(harness: Harness, column: string): Promise<void> {
  const { tables, columns } = readManifest(await readFile(await manifestOf(harness)))!;
  const [number] = [...tables].find(([, table]) => columns.get(table.column) === column)!;
  const path = join(harness.directory, 'db', tableFileName(number));
  const bytes = await readFile(path);
  bytes[9]! ^= 0x80;
  await writeFile(path, bytes);
}

async function manifestOf({ directory }: Harness): Promise<string> {
  const current = await readFile(join(directory, 'db/CURRENT'), 'utf8');
  return join(directory, 'db', current.trim());
}

function isDataLoss(error: unknown): boolean {
  assert(error instanceof SluiceError && error.reason === 'DATA_LOSS', String(error));
  return true;
}
