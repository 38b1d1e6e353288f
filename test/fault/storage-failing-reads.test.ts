import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeDirectory } from '../integration/storage/harness.js';
import { buildPreload } from '../support/preload.js';
import { repositoryRoot } from '../support/repository.js';

const child = fileURLToPath(new URL('./failing-reads-child.js', import.meta.url));
const openingChild = fileURLToPath(new URL('./failing-opening-child.js', import.meta.url));

/** Runs a child on a store whose disk fails. Returns the lines that it prints. */
async function linesOf(path: string, library: string): Promise<string[]> {
  const directory = await makeDirectory();
  const control = `${directory}-failing-reads`;
  try {
    cpSync(join(repositoryRoot, 'test/data/format-2-clean'), directory, { recursive: true });
    const output = execFileSync(process.execPath, [path, directory, control], {
      env: { ...process.env, LD_PRELOAD: library, FAILING_DISK_CONTROL: control },
      encoding: 'utf8',
    });
    return output.trim().split('\n');
  } finally {
    rmSync(control, { force: true });
    rmSync(directory, { recursive: true });
  }
}

describe('storage: a disk that fails to read', () => {
  it('is asked twice, then READ_FAILED names the offset; nothing is remembered of it', async function () {
    const library = buildPreload('failing-disk');
    if (library === undefined) this.skip();
    const lines = await linesOf(child, library);
    assert.deepEqual(lines.slice(0, 2), ['1: 24', '1: 0'], 'the second try succeeds');
    for (const line of lines.slice(2, 4)) {
      assert.match(
        line,
        /READ_FAILED topic 2, partition 0, offset \d+: the disk failed to read it, twice: IO error/,
      );
    }
    assert.deepEqual(lines.slice(4), ['0: 24', '0: 0'], 'it reads again');
  });

  it('is asked twice at the start, then READ_FAILED ends the start', async function () {
    const library = buildPreload('failing-disk');
    if (library === undefined) this.skip();
    const [once, always, never] = await linesOf(openingChild, library);
    assert.equal(once, '1: 3 topics, 0 faults', 'the second try succeeds');
    assert.match(
      always!,
      /READ_FAILED the catalog of the store can't be read, the disk failed twice: IO error/,
    );
    assert.equal(never, '0: 3 topics, 0 faults', 'it reads again');
  });
});
