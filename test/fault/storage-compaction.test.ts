import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SluiceError } from '../../src/base/errors.js';
import type { Storage } from '../../src/storage/types.js';
import {
  append,
  closeAll,
  commit,
  createHarness,
  createTopic,
  type Harness,
} from '../integration/storage/harness.js';

async function largestTable(harness: Harness): Promise<string> {
  const directory = join(harness.directory, 'db');
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sst'));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).size));
  return join(directory, names[sizes.indexOf(Math.max(...sizes))]!);
}

const message = (index: number): Buffer => Buffer.alloc(100_000, index);

/** Overwrites 16 bytes of the only table of the messages. Answers its path, and what was in it. */
async function damageTable(harness: Harness, topicId: number): Promise<{ path: string; whole: Buffer }> {
  for (let index = 0; index < 20; index++) {
    await commit(harness.storage, { appends: [append(topicId, 0, [message(index)])] });
  }
  await harness.reopen();
  await harness.storage.close();
  const path = await largestTable(harness);
  const whole = await readFile(path);
  const bytes = Buffer.from(whole);
  bytes.fill(0xa5, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 16);
  await writeFile(path, bytes);
  return { path, whole };
}

/** Writes what lies over the damaged table until RocksDB compacts both. */
async function writeUntilFailed(storage: Storage, topicId: number): Promise<unknown> {
  for (let index = 0; index < 600; index++) {
    try {
      // Every opening makes a table of what was written; retention makes the newest overlap the oldest.
      await commit(storage, { appends: [append(topicId, 0, [message(index)])] });
      if (index % 60 === 0) await storage.removeBelow(topicId, 0, storage.extent(topicId, 0).firstOffset + 1);
    } catch (error) {
      return error;
    }
  }
  return undefined;
}

describe('storage: damage that a compaction finds', () => {
  afterEach(closeAll);

  it('is named with its offsets, ends the store, and is said again at each start, until the table is restored', async () => {
    const harness = await createHarness({ tailBytes: 0 });
    const topicId = await createTopic(harness.storage, 'orders');
    const { path, whole } = await damageTable(harness, topicId);
    const storage = await harness.open();
    const refusal = await writeUntilFailed(storage, topicId);
    assert(refusal instanceof SluiceError && refusal.reason === 'DATA_LOSS', String(refusal));
    assert.match(refusal.message, /takes no writes: .*\d+\.sst/);
    await storage.close();

    const [failure] = harness.failures;
    const isNamed = (error: unknown): boolean => {
      assert(error instanceof SluiceError && error.reason === 'DATA_LOSS', String(error));
      const table = path.slice(path.lastIndexOf('/') + 1);
      assert.match(
        error.message,
        new RegExp(
          `the table ${table} is damaged, which holds topic ${topicId}, partition 0, offsets (\\d+) to \\1: `,
        ),
      );
      assert.match(
        error.message,
        /Starting the broker again does not repair it: restore the data directory from a backup/,
      );
      return true;
    };
    assert(isNamed(failure));
    await assert.rejects(harness.open(), isNamed);
    await assert.rejects(harness.open(), isNamed);

    await writeFile(path, whole);
    await harness.open();
    const { endOffset } = harness.storage.extent(topicId, 0);
    assert(endOffset >= 20);
    assert.equal(await writeUntilFailed(harness.storage, topicId), undefined);
  });
});
