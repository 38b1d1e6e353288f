import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeDirectory } from '../integration/storage/harness.js';
import { repositoryRoot } from '../support/repository.js';

/** What a supervisor and an operator see of a start that a damaged data directory refuses. */
function serve(directory: string) {
  const main = join(repositoryRoot, 'dist/src/cli/main.js');
  const settings = [
    '--listen',
    '127.0.0.1:0',
    '--data-dir',
    directory,
    '--max-partition-count',
    '4',
    '--log-format',
    'json',
  ];
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'serve', ...settings], {
    encoding: 'utf8',
    timeout: 50_000,
  });
  return { status, stdout, stderr };
}

describe('serve on a damaged data directory', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await makeDirectory();
    cpSync(join(repositoryRoot, 'test/data/format-2-clean'), directory, { recursive: true });
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const damages: [what: string, damage: (directory: string) => void, names: RegExp][] = [
    [
      'a bit of the log',
      (at) => {
        const path = join(at, 'db/000014.log');
        const bytes = readFileSync(path);
        bytes[Math.floor(bytes.length / 2)]! ^= 1;
        writeFileSync(path, bytes);
      },
      /\((DATA_LOSS|SYNCED_DATA_MISSING)\)/,
    ],
    [
      'a table that is gone',
      (at) => rmSync(join(at, 'db/000009.sst')),
      /000009\.sst, a table of cursors, is missing.*\(DATA_LOSS\)/,
    ],
    [
      'a note that is gone',
      (at) => rmSync(join(at, 'last-round')),
      /last-round is missing.*\(SYNCED_DATA_MISSING\)/,
    ],
  ];
  for (const [what, damage, names] of damages) {
    it(`${what}: ends with 65 each time, with a line that names the damage`, () => {
      damage(directory);
      for (let start = 0; start < 2; start++) {
        const { status, stdout, stderr } = serve(directory);
        assert.equal(status, 65, stderr);
        assert.match(stderr, names);
        const lines = stdout
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line) as Record<string, unknown>);
        const line = lines.find(({ msg, message }) =>
          /the data directory is damaged/.test(String(msg ?? message)),
        );
        assert.match(String(line?.reason), /^(DATA_LOSS|SYNCED_DATA_MISSING)$/, stdout);
        assert(stderr.includes(String(line?.damage).slice(0, 100)));
      }
    });
  }
});
