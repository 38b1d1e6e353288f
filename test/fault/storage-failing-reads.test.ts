import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeDirectory } from '../integration/storage/harness.js';
import { buildPreload } from '../support/preload.js';
import { repositoryRoot } from '../support/repository.js';

const child = fileURLToPath(new URL('./failing-reads-child.js', import.meta.url));

describe('storage: a disk that fails to read', () => {
  it('is asked twice, then READ_FAILED names the offset; nothing is remembered of it', async function () {
    const library = buildPreload('failing-disk');
    if (library === undefined) this.skip();
    const directory = await makeDirectory();
    try {
      cpSync(join(repositoryRoot, 'test/data/format-2-clean'), directory, { recursive: true });
      const control = join(directory, '..', `${process.pid}-failing-reads`);
      const output = execFileSync(process.execPath, [child, directory, control], {
        env: { ...process.env, LD_PRELOAD: library, FAILING_DISK_CONTROL: control },
        encoding: 'utf8',
      });
      rmSync(control);
      const lines = output.trim().split('\n');
      assert.deepEqual(lines.slice(0, 2), ['1: 24', '1: 0'], 'the second try succeeds');
      for (const line of lines.slice(2, 4)) {
        assert.match(
          line,
          /READ_FAILED topic 2, partition 0, offset \d+: the disk failed to read it, twice: IO error/,
        );
      }
      assert.deepEqual(lines.slice(4), ['0: 24', '0: 0'], 'it reads again');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
