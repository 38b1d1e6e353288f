import assert from 'node:assert/strict';
import { cp, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SluiceError } from '../../src/base/errors.js';
import { append, commit, createTopic, makeDirectory, openIn } from '../integration/storage/harness.js';
import { repositoryRoot } from '../support/repository.js';

async function newestLog(directory: string): Promise<string> {
  const names = await readdir(join(directory, 'db'));
  const logs = names.filter((name) => name.endsWith('.log')).sort();
  return join(directory, 'db', logs.at(-1)!);
}

describe('storage: a data directory that goes away under the broker', () => {
  const cases: Record<string, (directory: string) => Promise<void>> = {
    'is removed': (directory) => rm(directory, { recursive: true }),
    'is moved': (directory) => rename(directory, `${directory}-moved`),
    'is replaced': async (directory) => {
      await rename(directory, `${directory}-moved`);
      await mkdir(join(directory, 'db'), { recursive: true });
    },
    'is replaced by another store': async (directory) => {
      await rename(directory, `${directory}-moved`);
      await cp(join(repositoryRoot, 'test/data/format-2-clean'), directory, { recursive: true });
    },
    'loses its database': (directory) => rm(join(directory, 'db'), { recursive: true }),
    'loses the write-ahead log': async (directory) => rm(await newestLog(directory)),
    'has its write-ahead log moved': async (directory) => {
      await rename(await newestLog(directory), join(directory, 'moved.log'));
    },
    'has its write-ahead log replaced by a copy': async (directory) => {
      const log = await newestLog(directory);
      await cp(log, `${log}.copy`);
      await rename(`${log}.copy`, log);
    },
  };
  for (const [what, happens] of Object.entries(cases)) {
    for (const durability of ['synced', 'written'] as const) {
      it(`${what}: no receipt is given for what is ${durability} from then on, and the store fails`, async () => {
        const directory = join(await makeDirectory(), 'data');
        const failures: Error[] = [];
        const storage = await openIn(directory, {}, (error) => failures.push(error));
        const topicId = await createTopic(storage, 'orders');
        const publish = () => commit(storage, { durability, appends: [append(topicId, 0, ['m'])] });
        await publish();
        await happens(directory);
        await assert.rejects(publish(), (error) => {
          assert(error instanceof SluiceError && error.reason === 'STORAGE_FAILED', String(error));
          assert.match(error.message, /the (data directory|write-ahead log) was removed or replaced/);
          return true;
        });
        await storage.close();
        assert.equal(failures.length, 1);
        await rm(join(directory, '..'), { recursive: true });
      });
    }
  }

  it('does not take files for removed that RocksDB has removed', async () => {
    const directory = await makeDirectory();
    const failures: Error[] = [];
    const storage = await openIn(directory, {}, (error) => failures.push(error));
    const topicId = await createTopic(storage, 'orders', 2);
    const payload = Buffer.alloc(300_000);
    const publish = async (partition: number) => {
      await commit(storage, { durability: 'written', appends: [append(topicId, partition, [payload])] });
    };
    const first = await newestLog(directory);
    const isThere = async () => (await readdir(join(directory, 'db'))).includes(first.slice(-10));
    // Both column families fill memtables, so that the first log is written into tables and removed.
    for (let index = 0; index < 60 || (await isThere()); index++) await publish(index % 2);
    for (let index = 0; index < 60; index++) await publish(index % 2);
    assert.deepEqual(failures, []);
    await storage.close();
    await rm(directory, { recursive: true });
  });
});
