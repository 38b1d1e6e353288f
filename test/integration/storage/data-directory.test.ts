import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SluiceError } from '../../../src/base/errors.js';
import type { Reason } from '../../../src/base/reasons.js';
import { Engine } from '../../../src/storage/engine/engine.js';
import { freeDiskBytes } from '../../../src/storage/storage.js';
import {
  append,
  closeAll,
  commit,
  createHarness,
  createTopic,
  type Harness,
  makeDirectory,
  openIn,
} from './harness.js';

async function refuses(harness: { directory: string }, reason: Reason, text: RegExp, maxPartitionCount = 4) {
  await assert.rejects(openIn(harness.directory, { maxPartitionCount }), (error) => {
    assert(error instanceof SluiceError, String(error));
    assert.equal(error.reason, reason);
    assert.match(error.message, text);
    return true;
  });
}

async function markerOf(harness: Harness): Promise<{ format: number; maxPartitionCount: number }> {
  return JSON.parse(await readFile(join(harness.directory, 'sluice.json'), 'utf8'));
}

describe('storage: the data directory', () => {
  const made: string[] = [];
  const make = async (): Promise<string> => {
    made.push(await makeDirectory());
    return made.at(-1)!;
  };
  afterEach(async () => {
    await closeAll();
    for (const directory of made.splice(0)) await rm(directory, { recursive: true });
  });

  it('is made with everything above it', async () => {
    const directory = join(await make(), 'a', 'b');
    await (await openIn(directory)).close();
    assert.deepEqual((await readdir(directory)).sort(), [
      'db',
      'last-round',
      'sluice.json',
      'synced-offsets',
    ]);
    assert((await freeDiskBytes(directory)) > 0);
  });

  it('may be the root of a file system of its own', async () => {
    const directory = await make();
    await mkdir(join(directory, 'lost+found'));
    await (await openIn(directory)).close();
  });

  it('is refused when it holds something else, and nothing is written into it', async () => {
    const directory = await make();
    await writeFile(join(directory, 'letter.txt'), 'dear');
    await refuses({ directory }, 'DATA_DIRECTORY_FOREIGN', /letter\.txt.*choose an empty one/);
    assert.deepEqual(await readdir(directory), ['letter.txt']);
  });

  it('is refused when it holds the database of another program', async () => {
    const directory = await make();
    await mkdir(join(directory, 'db'));
    await writeFile(join(directory, 'db', '000012.sst'), '');
    await refuses({ directory }, 'DATA_DIRECTORY_FOREIGN', /a database but no sluice\.json/);
  });

  it('is finished when making it was cut short before the marker', async () => {
    const directory = await make();
    const engine = await Engine.open(join(directory, 'db'), 4);
    await engine.close();
    await writeFile(join(directory, 'sluice.json.new'), '{ "for');
    await (await openIn(directory)).close();
  });

  it('is refused when its marker is damaged', async () => {
    for (const text of ['', '{}', '[]', 'null', '{"format":"1","maxPartitionCount":4}']) {
      const directory = await make();
      await writeFile(join(directory, 'sluice.json'), text);
      await refuses({ directory }, 'DATA_DIRECTORY_FOREIGN', /sluice\.json was not written by Sluice/);
    }
  });

  it('is refused when its format is newer, and left as it is', async () => {
    const harness = await createHarness();
    await harness.storage.close();
    const path = join(harness.directory, 'sluice.json');
    const newer = JSON.stringify({ ...(await markerOf(harness)), format: 3 });
    await writeFile(path, newer);
    await refuses(harness, 'DATA_DIRECTORY_NEWER', /format 3.*newer version/);
    assert.equal(await readFile(path, 'utf8'), newer);
  });

  it('is refused while it is in use', async () => {
    const harness = await createHarness();
    await refuses(harness, 'DATA_DIRECTORY_IN_USE', /in use/);
    // Neither does a setting that differs get as far as the marker.
    await refuses(harness, 'DATA_DIRECTORY_IN_USE', /in use/, 6);
    assert.equal((await markerOf(harness)).maxPartitionCount, 4);
    await createTopic(harness.storage, 'still works');
  });

  it('may get more partitions, and never fewer', async () => {
    const harness = await createHarness();
    const first = await createTopic(harness.storage, 'first', 4);
    await commit(harness.storage, { appends: [append(first, 3, ['m'])] });
    const storage = await harness.reopen({ maxPartitionCount: 6 });
    assert.equal(storage.extent(first, 3).endOffset, 1);
    const second = await createTopic(storage, 'second', 6);
    await commit(storage, { appends: [append(second, 5, ['m'])] });
    await storage.close();
    assert.equal((await markerOf(harness)).maxPartitionCount, 6);
    await refuses(harness, 'INVALID_SETTING', /made for 6, the setting says 4/);
  });

  it('is refused where it can be neither made nor read', async () => {
    const directory = await make();
    const file = join(directory, 'file');
    await writeFile(file, '');
    await refuses({ directory: file }, 'DATA_DIRECTORY_UNUSABLE', /file/);
    await refuses({ directory: join(file, 'below') }, 'DATA_DIRECTORY_UNUSABLE', /below/);
    await refuses({ directory: '/proc/sluice' }, 'DATA_DIRECTORY_UNUSABLE', /proc/);
  });
});
