import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLogger } from '../../../../src/base/logger.js';
import {
  decodeSyncedOffsets,
  findMissing,
  SyncedOffsetsFile,
} from '../../../../src/storage/recovery/synced-offsets.js';
import { makeDirectory, VirtualWall } from '../../../integration/storage/harness.js';

describe('synced offsets file', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await makeDirectory();
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it('notes what was synced, also what is synced while it is being written', async () => {
    const clock = new VirtualWall(0);
    const path = join(directory, 'synced-offsets');
    let endOffset = 1;
    let onWritten = (): void => {};
    const file = new SyncedOffsetsFile({
      path,
      clock,
      logger: silentLogger,
      collect: () => [{ topicId: 1, partition: 2, endOffset }],
      written: () => onWritten(),
    });
    const noted = async (): Promise<number> => decodeSyncedOffsets(await readFile(path))![0]!.endOffset;
    const nextWrite = (): Promise<void> =>
      new Promise((resolve) => {
        onWritten = resolve;
      });

    file.changed();
    file.changed();
    const first = nextWrite();
    clock.fire();
    // The write is under way and has collected: this change needs another one.
    await Promise.resolve();
    await Promise.resolve();
    endOffset = 2;
    file.changed();
    await first;
    assert.equal(await noted(), 1);
    const second = nextWrite();
    clock.fire();
    await second;
    assert.equal(await noted(), 2);
    endOffset = 3;
    await file.close();
    assert.equal(await noted(), 3);
  });

  it('goes on after a write that failed', async () => {
    const warnings: string[] = [];
    const file = new SyncedOffsetsFile({
      path: join(directory, 'nowhere', 'synced-offsets'),
      clock: new VirtualWall(0),
      logger: { ...silentLogger, warn: (_, message) => warnings.push(message) },
      collect: () => [],
      written: () => assert.fail('nothing was written'),
    });
    await file.close();
    assert.equal(warnings.length, 1);
  });

  it('is not missed where it was never written', async () => {
    assert.deepEqual(await findMissing(join(directory, 'synced-offsets'), () => 0), []);
  });
});
