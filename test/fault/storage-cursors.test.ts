import assert from 'node:assert/strict';
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SluiceError } from '../../src/base/errors.js';
import type { CursorState } from '../../src/base/positions.js';
import { metadataColumn } from '../../src/storage/engine/columns.js';
import { extentKey } from '../../src/storage/engine/keys.js';
import type { Storage } from '../../src/storage/types.js';
import {
  append,
  commit,
  createTopic,
  makeDirectory,
  openIn,
  subscriptionConfig,
} from '../integration/storage/harness.js';
import { change } from './changed-record.js';

const subscriptionCount = 400;
const firstOffset = 3;

function cursorOf(subscriptionId: number): CursorState {
  const acknowledgedOffset = firstOffset + 1 + (subscriptionId % 50);
  const settled = [{ first: acknowledgedOffset + 2, last: acknowledgedOffset + 3 }];
  return { acknowledgedOffset, settled, failed: [], deadLetterCount: 2 };
}

/** A store whose cursors stand in one table, in several blocks, and in no write-ahead log. */
async function createStore(directory: string): Promise<void> {
  const storage = await openIn(directory);
  const topicId = await createTopic(storage, 'orders');
  await commit(storage, {
    appends: [
      append(
        topicId,
        0,
        Array.from({ length: 100 }, (_, n) => `m${n}`),
      ),
    ],
  });
  await storage.removeBelow(topicId, 0, firstOffset);
  const ids = Array.from({ length: subscriptionCount }, () => storage.nextSubscriptionId());
  await commit(storage, {
    putSubscriptions: ids.map((subscriptionId) => ({
      subscriptionId,
      topicId,
      config: subscriptionConfig('orders', `s${subscriptionId}`),
    })),
    cursors: ids.map((subscriptionId) => ({
      subscriptionId,
      partition: 0,
      state: () => cursorOf(subscriptionId),
    })),
  });
  await storage.close();
  // Opening writes what the log holds into tables.
  await (await openIn(directory)).close();
}

/** The properties of a table name its column family. */
async function tableOfCursors(directory: string): Promise<string> {
  const database = join(directory, 'db');
  for (const name of await readdir(database)) {
    const path = join(database, name);
    if (name.endsWith('.sst') && (await readFile(path)).includes('cursors')) return path;
  }
  return assert.fail('there is no table of cursors');
}

async function cursorsOf(storage: Storage): Promise<Map<number, CursorState | undefined>> {
  const cursors = new Map<number, CursorState | undefined>();
  for (const { subscriptionId } of storage.recovered.subscriptions) {
    cursors.set(subscriptionId, (await storage.readCursors(subscriptionId, 1)).get(0));
  }
  return cursors;
}

describe('storage: a damaged table of cursors', () => {
  let whole: string;
  let directory: string;
  before(async () => {
    whole = await makeDirectory();
    await createStore(whole);
  });
  beforeEach(async () => {
    directory = await makeDirectory();
    await cp(whole, directory, { recursive: true });
  });
  afterEach(() => rm(directory, { recursive: true }));
  after(() => rm(whole, { recursive: true }));

  // In the data blocks, which make up more than nine tenths of the table.
  for (const part of [0.01, 0.2, 0.4, 0.6, 0.8]) {
    it(`one bit at ${part} of it: names each subscription that is put back, and keeps all other cursors`, async () => {
      const path = await tableOfCursors(directory);
      const bytes = await readFile(path);
      bytes[Math.floor(bytes.length * part)]! ^= 0x10;
      await writeFile(path, bytes);

      await assert.rejects(openIn(directory), (error) => {
        assert(error instanceof SluiceError && error.reason === 'DATA_LOSS', String(error));
        assert.match(error.message, /the cursor of subscription "s\d+" in partition 0 of topic "orders"/);
        assert.match(error.message, /--accept-data-loss/);
        return true;
      });

      const accepted = await openIn(directory, { acceptDataLoss: true });
      const restartOffsets = new Map(
        accepted.warnings.flatMap((line) => {
          const [, id, offset] = /subscription "s(\d+)" in .* from offset (\d+) on/.exec(line) ?? [];
          return id === undefined ? [] : [[Number(id), Number(offset)] as const];
        }),
      );
      const cursors = await cursorsOf(accepted);
      assert.equal(cursors.size, subscriptionCount);
      let movedCount = 0;
      for (const [id, cursor] of cursors) {
        if (JSON.stringify(cursor) === JSON.stringify(cursorOf(id))) continue;
        movedCount++;
        assert.equal(restartOffsets.get(id), firstOffset, `cursor ${id}: ${JSON.stringify(cursor)}`);
        const fresh = { acknowledgedOffset: firstOffset, settled: [], failed: [], deadLetterCount: 0 };
        assert.deepEqual(cursor, fresh);
      }
      // A block holds about a hundred cursors. All that are whole by their own checksums are kept.
      assert(movedCount <= 16, `${movedCount} subscriptions were put back`);

      // What subscriptions settle after that is kept, too.
      const [named] = restartOffsets.keys();
      const later = { acknowledgedOffset: 90, settled: [], failed: [], deadLetterCount: 0 };
      await commit(accepted, { cursors: [{ subscriptionId: named!, partition: 0, state: () => later }] });
      await accepted.close();
      const again = await openIn(directory);
      assert.deepEqual(again.warnings, []);
      assert.deepEqual(await cursorsOf(again), new Map([...cursors, [named!, later]]));
      await again.close();
    });
  }

  it('does not keep a start that accepts the loss from rebuilding an extent', async () => {
    await change(directory, metadataColumn, extentKey(1, 0), 'alter');
    const path = await tableOfCursors(directory);
    const bytes = await readFile(path);
    bytes[Math.floor(bytes.length * 0.4)]! ^= 0x10;
    await writeFile(path, bytes);
    const accepted = await openIn(directory, { acceptDataLoss: true });
    assert.deepEqual(await commit(accepted, { appends: [append(1, 0, ['next'])] }), [100]);
    await accepted.close();
  });
});
