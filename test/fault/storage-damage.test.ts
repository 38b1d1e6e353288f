import assert from 'node:assert/strict';
import { readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SluiceError } from '../../src/base/errors.js';
import { partitionColumn, producersColumn } from '../../src/storage/engine/columns.js';
import { Engine } from '../../src/storage/engine/engine.js';
import { logKey, logRange, producerRange } from '../../src/storage/engine/keys.js';
import { readDatabaseStart } from '../../src/storage/recovery/database-check.js';
import { decodeRoundNote, writeRoundNote } from '../../src/storage/recovery/round-note.js';
import {
  append,
  closeAll,
  commit,
  createHarness,
  createTopic,
  type Harness,
  payloads,
  readAll,
} from '../integration/storage/harness.js';

/** Changes the database behind the store's back, so that only the records themselves can tell. */
async function tamper<T>(harness: Harness, change: (engine: Engine) => Promise<T>): Promise<T> {
  await harness.storage.close();
  const engine = await Engine.open(join(harness.directory, 'db'), 4);
  try {
    const result = await change(engine);
    const path = join(harness.directory, 'last-round');
    const note = decodeRoundNote(await readFile(path))!;
    await writeRoundNote(path, {
      ...note,
      ...(await readDatabaseStart(join(harness.directory, 'db'))),
    });
    return result;
  } finally {
    await engine.close();
  }
}

function lost(topicId: number, first: number, last: number, why: RegExp) {
  return (error: unknown) => {
    assert(error instanceof SluiceError, String(error));
    assert.equal(error.reason, 'DATA_LOSS');
    const { metadata } = error.details;
    assert.deepEqual(metadata, {
      topicId: String(topicId),
      partition: '0',
      firstOffset: String(first),
      lastOffset: String(last),
    });
    assert.match(error.message, why);
    assert.match(error.message, new RegExp(`topic ${topicId}, partition 0, offsets ${first} to ${last}`));
    return true;
  };
}

/** Ten records of two messages each. */
async function fill(harness: Harness): Promise<number> {
  const topicId = await createTopic(harness.storage, 'orders');
  for (let index = 0; index < 10; index++) {
    await commit(harness.storage, { appends: [append(topicId, 0, [`${index}a`, `${index}b`])] });
  }
  return topicId;
}

describe('storage: damage', () => {
  afterEach(closeAll);

  for (const tailBytes of [0, 1_000_000]) {
    it(`finds an altered record, names it, and delivers what is around it (tail of ${tailBytes} bytes)`, async () => {
      const harness = await createHarness({ tailBytes });
      const topicId = await fill(harness);
      await tamper(harness, async (engine) => {
        const key = logKey(topicId, 9);
        const value = engine.get(partitionColumn(0), key);
        value![value!.length - 1]! ^= 1;
        const batch = engine.batch();
        batch.put(partitionColumn(0), key, value!);
        batch.write(true);
      });
      const storage = await harness.open();
      const reader = storage.openReader(topicId, 0);
      const before = await reader.read(0, 1_000_000);
      assert.deepEqual(payloads(before).length, 8);
      for (let time = 0; time < 2; time++) {
        await assert.rejects(async () => reader.read(8, 1_000), lost(topicId, 8, 9, /checksum/));
      }
      assert.deepEqual(payloads(await readAll(reader, 10)).length, 10);
      await assert.rejects(async () => reader.read(9, 1_000), lost(topicId, 9, 9, /checksum/));
    });
  }

  it('finds a hole in the middle and at the end', async () => {
    const harness = await createHarness();
    const topicId = await fill(harness);
    await tamper(harness, async (engine) => {
      const batch = engine.batch();
      for (const lastOffset of [7, 9, 19]) batch.delete(partitionColumn(0), logKey(topicId, lastOffset));
      batch.write(true);
    });
    const storage = await harness.open();
    const reader = storage.openReader(topicId, 0);
    assert.deepEqual(payloads(await reader.read(0, 1_000_000)).length, 6);
    await assert.rejects(async () => reader.read(6, 1), lost(topicId, 6, 9, /missing/));
    await assert.rejects(async () => reader.read(7, 1), lost(topicId, 7, 9, /missing/));
    assert.deepEqual(payloads(await reader.read(10, 1_000_000)).length, 8);
    await assert.rejects(async () => reader.read(18, 1), lost(topicId, 18, 19, /missing/));
    assert.deepEqual(await reader.read(20, 1), []);
  });

  it('finds two records for one offset, and a record of another partition', async () => {
    const harness = await createHarness();
    const topicId = await fill(harness);
    await tamper(harness, async (engine) => {
      const batch = engine.batch();
      const value = engine.get(partitionColumn(0), logKey(topicId, 9));
      batch.put(partitionColumn(1), logKey(topicId, 9), value!);
      batch.put(partitionColumn(0), logKey(topicId, 10), value!);
      batch.write(true);
    });
    const storage = await harness.open();
    const reader = storage.openReader(topicId, 0);
    await reader.read(0, 1_000_000);
    await assert.rejects(async () => reader.read(10, 1), lost(topicId, 10, 10, /checksum/));
  });

  it('finds a flipped bit in a file of the database', async () => {
    const harness = await createHarness();
    const topicId = await createTopic(harness.storage, 'orders');
    for (let index = 0; index < 40; index++) {
      await commit(harness.storage, { appends: [append(topicId, 0, [Buffer.alloc(200_000, index)])] });
    }
    // Opening writes what the log holds into files.
    await harness.reopen();
    await harness.storage.close();
    const directory = join(harness.directory, 'db');
    const sizes = await Promise.all(
      (await readdir(directory))
        .filter((name) => name.endsWith('.sst'))
        .map(async (name) => ({
          path: join(directory, name),
          size: (await stat(join(directory, name))).size,
        })),
    );
    const { path, size } = sizes.sort((a, b) => b.size - a.size)[0]!;
    assert(size > 1_000_000);
    const bytes = await readFile(path);
    bytes[Math.floor(size / 2)]! ^= 0x40;
    await writeFile(path, bytes);
    const storage = await harness.open();
    await assert.rejects(readAll(storage.openReader(topicId, 0), 0), (error) => {
      assert(error instanceof SluiceError && error.reason === 'DATA_LOSS', String(error));
      assert.match(
        error.message,
        /topic 1, partition 0, offsets (\d+) to \1: the block that holds them is damaged/,
      );
      return true;
    });
  });

  it('refuses a database that has lost a file', async () => {
    const harness = await createHarness();
    await fill(harness);
    await harness.reopen();
    await harness.storage.close();
    const directory = join(harness.directory, 'db');
    const table = (await readdir(directory)).find((name) => name.endsWith('.sst'))!;
    await rm(join(directory, table));
    await assert.rejects(harness.open(), (error) => {
      assert(error instanceof SluiceError && error.reason === 'DATA_LOSS', String(error));
      assert.match(error.message, /backup/);
      return true;
    });
  });

  it('refuses to open without messages that were synced, unless the loss is accepted', async () => {
    const harness = await createHarness();
    const topicId = await fill(harness);
    await harness.storage.close();
    await loseWal(harness, 0.5);
    await assert.rejects(harness.open(), (error) => {
      assert(error instanceof SluiceError && error.reason === 'SYNCED_DATA_MISSING', String(error));
      assert.match(error.message, /topic 1, partition 0: offsets \d+ to 19 were synced and are missing/);
      return true;
    });
    const storage = await harness.open({ acceptDataLoss: true });
    assert.match(storage.warnings.join(), /topic 1, partition 0: offsets \d+ to 19/);
    const { endOffset } = storage.extent(topicId, 0);
    assert(endOffset > 0 && endOffset < 20, `${endOffset}`);
    assert.equal(payloads(await readAll(storage.openReader(topicId, 0), 0)).length, endOffset);
    const again = await harness.reopen();
    assert.deepEqual(again.warnings, [], 'it was accepted once and for all');
  });

  it('refuses to open without a topic that was synced', async () => {
    const harness = await createHarness();
    await fill(harness);
    await harness.storage.close();
    await loseWal(harness, 0);
    await assert.rejects(harness.open(), (error) => {
      assert(error instanceof SluiceError && error.reason === 'SYNCED_DATA_MISSING', String(error));
      assert.match(error.message, /offsets 0 to 19/);
      return true;
    });
  });

  it('does not miss what was deleted', async () => {
    const harness = await createHarness();
    const topicId = await fill(harness);
    const path = join(harness.directory, 'synced-offsets');
    await harness.reopen();
    await harness.storage.close();
    const noted = await readFile(path);
    await harness.open();
    await commit(harness.storage, { deleteTopics: [topicId] });
    await harness.storage.close();
    // As if the process had ended after the deletion and before the note.
    await writeFile(path, noted);
    assert.deepEqual((await harness.open()).warnings, []);
  });

  it('says when the note of synced offsets is damaged', async () => {
    const harness = await createHarness();
    await fill(harness);
    await harness.storage.close();
    await writeFile(join(harness.directory, 'synced-offsets'), 'nonsense');
    await assert.rejects(harness.open(), /synced-offsets is damaged/);
    assert.equal((await harness.open({ acceptDataLoss: true })).warnings.length, 1);
    assert.deepEqual((await harness.reopen()).warnings, []);
  });

  it('leaves nothing of a deleted topic, even when the process ended in between', async () => {
    const harness = await createHarness();
    const topicId = await fill(harness);
    await commit(harness.storage, {
      producers: [{ topicId, producerId: 'p', epoch: 1, lastSequence: 1, baseSequence: 0 }],
    });
    const kept = await tamper(harness, async (engine) => {
      const scan = engine.scan(partitionColumn(0), logRange(topicId, 0));
      const entries = await scan.next(100);
      await scan.close();
      return entries;
    });
    assert.equal(kept.length, 10);
    await harness.open();
    await commit(harness.storage, { deleteTopics: [topicId] });
    // Put back what a process that ended before the removal would have left.
    await tamper(harness, async (engine) => {
      const batch = engine.batch();
      for (const [key, value] of kept) batch.put(partitionColumn(0), key, value);
      batch.write(true);
    });
    await harness.open();
    await tamper(harness, async (engine) => {
      for (const [column, range] of [
        [partitionColumn(0), logRange(topicId, 0)],
        [producersColumn, producerRange(topicId)],
      ] as const) {
        const scan = engine.scan(column, range);
        assert.deepEqual(await scan.next(1), []);
        await scan.close();
      }
    });
    await harness.open();
  });
});

/** Cuts the log of the database to a part of its length. */
async function loseWal(harness: Harness, part: number): Promise<void> {
  const directory = join(harness.directory, 'db');
  const logs = (await readdir(directory)).filter((name) => name.endsWith('.log')).sort();
  const path = join(directory, logs.at(-1)!);
  await truncate(path, Math.floor((await stat(path)).size * part));
}
