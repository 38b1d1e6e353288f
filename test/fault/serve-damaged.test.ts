import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '@sluice/client';
import { limits } from '../../src/base/limits.js';
import { makeDirectory } from '../integration/storage/harness.js';
import { BrokerProcess } from '../support/broker-process.js';
import { repositoryRoot } from '../support/repository.js';

/** What a supervisor and an operator see of a start that a damaged data directory refuses. */
function serve(directory: string, env: NodeJS.ProcessEnv = {}) {
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
    env: { ...process.env, ...env },
  });
  return { status, stdout, stderr };
}

/** The environment of a process that runs this code first. */
function preloaded(code: string): { NODE_OPTIONS: string } {
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` };
}

/** Ends the process by SIGTERM as soon as it handles the signal. */
const terminatedAtOnce = `
  process.on('newListener', (name) => {
    if (name === 'SIGTERM') setImmediate(() => process.kill(process.pid, name));
  });`;

/** Two signals while the broker waits for its last answers to leave. */
const terminatedWhileEnding = `
  const { setTimeout } = globalThis;
  globalThis.setTimeout = (wake, delayMs, ...rest) => {
    if (delayMs === ${limits.failureGraceMs}) {
      process.once('SIGTERM', () => process.kill(process.pid, 'SIGTERM'));
      process.kill(process.pid, 'SIGTERM');
    }
    return setTimeout(wake, delayMs, ...rest);
  };`;

describe('serve that is told to end while it ends', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await makeDirectory();
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('ends with 65 if its data directory is damaged', () => {
    cpSync(join(repositoryRoot, 'test/data/format-2-clean'), directory, { recursive: true });
    rmSync(join(directory, 'last-round'));
    const { status, stderr } = serve(directory, preloaded(terminatedAtOnce));
    assert.equal(status, 65, stderr);
    assert.match(stderr, /last-round is missing.*\(SYNCED_DATA_MISSING\)/);
  });

  it('ends with 1 if its store has failed, also after a second signal', async () => {
    const broker = await BrokerProcess.start({
      dataDirectory: directory,
      env: preloaded(terminatedWhileEnding),
    });
    const client = connect(broker.address);
    try {
      await client.admin.createTopic({ topic: { name: 'orders' } });
      rmSync(join(directory, 'db'), { recursive: true });
      await assert.rejects(client.admin.createTopic({ topic: { name: 'others' } }));
      assert.deepEqual(await broker.exited, { code: 1, signal: null }, broker.tail());
    } finally {
      client.close();
      await broker.dispose();
    }
  });
});

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
