import assert from 'node:assert/strict';
import { cp, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SluiceError } from '../../src/base/errors.js';
import { append, commit, createTopic, makeDirectory, openIn } from '../integration/storage/harness.js';
import { repositoryRoot } from '../support/repository.js';

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
          assert.match(error.message, /the data directory was removed or replaced while the broker ran/);
          return true;
        });
        await storage.close();
        assert.equal(failures.length, 1);
        await rm(join(directory, '..'), { recursive: true });
      });
    }
  }
});
