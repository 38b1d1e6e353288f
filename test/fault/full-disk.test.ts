import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MiB } from '../../src/base/units.js';
import { append, commit, openIn, readAll, subscriptionConfig } from '../integration/storage/harness.js';
import { until } from '../support/until.js';

const child = fileURLToPath(new URL('./full-disk-child.js', import.meta.url));

/** Takes all that is left of a disk. */
function fill(path: string): void {
  const file = openSync(path, 'w');
  try {
    for (const size of [MiB, 4_096]) {
      try {
        for (;;) writeSync(file, Buffer.alloc(size, 1));
      } catch (error) {
        assert.match(String(error), /ENOSPC/);
      }
    }
  } finally {
    closeSync(file);
  }
}

describe('storage: a full disk', () => {
  let disk: string;
  let isMounted = false;
  let publisher: ChildProcess | undefined;
  beforeEach(function () {
    disk = mkdtempSync(join(tmpdir(), 'sluice-full-disk-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=50m', 'tmpfs', disk], { stdio: 'pipe' });
      isMounted = true;
    } catch {
      rmSync(disk, { recursive: true });
      // Only where a file system may be mounted.
      this.skip();
    }
  });
  afterEach(() => {
    publisher?.kill('SIGKILL');
    publisher = undefined;
    if (!isMounted) return;
    isMounted = false;
    execFileSync('umount', [disk]);
    rmSync(disk, { recursive: true });
  });

  it('keeps no store from being opened, read and settled, after a kill with unflushed writes', async () => {
    const directory = join(disk, 'data');
    const messages = 450;
    const started = spawn(process.execPath, [child, directory, String(messages)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    publisher = started;
    await once(started.stdout, 'data');
    // As much as the log of the database, and some more: the disk has run low.
    await until(
      () => (statSync(join(directory, 'reserve'), { throwIfNoEntry: false })?.size ?? 0) > 20 * MiB,
    );
    started.kill('SIGKILL');
    await once(started, 'exit');
    fill(join(disk, 'other'));

    const storage = await openIn(directory, { minFreeDiskBytes: 8 * MiB });
    const read = await readAll(storage.openReader(1, 0), 0);
    assert.equal(read.length, messages / 3);
    const subscriptionId = storage.nextSubscriptionId();
    const config = subscriptionConfig('orders', 'billing');
    await commit(storage, { putSubscriptions: [{ subscriptionId, topicId: 1, config }] });
    for (let index = 1; index <= 100; index++) {
      const state = { acknowledgedOffset: index, settled: [], failed: [], deadLetterCount: 0 };
      await commit(storage, { cursors: [{ subscriptionId, partition: 0, state: () => state }] });
    }
    await commit(storage, { appends: [append(1, 0, ['room for this much'])] });
    assert.equal((await storage.readCursors(subscriptionId, 1)).get(0)?.acknowledgedOffset, 100);
    await storage.close();
  });
});
