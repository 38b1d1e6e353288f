import assert from 'node:assert/strict';
import { type FSWatcher, mkdtempSync, readFileSync, rmSync, symlinkSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { minuteMs } from '../../src/base/units.js';
import { withoutSettings } from '../support/broker-process.js';
import { grpcurlDirectory } from '../support/grpcurl.js';
import { repositoryRoot } from '../support/repository.js';
import { Shell } from '../support/shell.js';
import { matchesOutput, parseWalk } from '../support/walk.js';

/** Where the page says that the broker listens. Here it takes a free port, and says in its log which. */
const pageAddress = 'localhost:7070';

describe('the walk of README.md', () => {
  const steps = parseWalk(readFileSync(join(repositoryRoot, 'README.md'), 'utf8'));
  let directory: string;
  let shell: Shell;
  /** The file that the newest broker logs to. */
  let brokerLog = '';
  /** The step that is being taken. */
  let place = '';
  /** Ended in any case, so that a step that hangs can't keep the test runner. */
  const watchers: FSWatcher[] = [];

  before(async function () {
    const grpcurl = await grpcurlDirectory(this);
    directory = mkdtempSync(join(tmpdir(), 'sluice-walk-'));
    for (const name of ['dist', 'node_modules', 'package.json']) {
      symlinkSync(join(repositoryRoot, name), join(directory, name));
    }
    shell = new Shell(directory, {
      ...withoutSettings(process.env),
      PATH: `${grpcurl}:${process.env.PATH}`,
      SLUICE_LISTEN: '127.0.0.1:0',
      SLUICE_LOG_FORMAT: 'json',
    });
  });

  afterEach(function () {
    if (this.currentTest?.state !== 'failed') return;
    console.error(`--- at ${place}\n${shell.output}\n--- ${brokerLog}\n${contentOf(brokerLog)}---`);
  });

  after(async () => {
    for (const watcher of watchers) watcher.close();
    await shell?.dispose();
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  });

  it('does and prints what the page says', async function () {
    this.timeout(minuteMs);
    this.slow(0.5 * minuteMs);
    for (const { line, command, expectedLines, waits } of steps) {
      place = `README.md:${line} ${command}`;
      for (const { file, text } of waits) await waitForText(file, text);
      const { output } = await shell.run(command.replaceAll(pageAddress, brokerAddress()));
      const expected = expectedLines.join('\n');
      assert.ok(
        matchesOutput(expectedLines, output),
        `${place}\nprinted:\n${output}\nexpected:\n${expected}`,
      );
    }
  });

  it('goes through a kill and a second start', () => {
    const commands = steps.map((step) => step.command);
    const kill = commands.findIndex((command) => command.startsWith('kill -9 '));
    const starts = commands.flatMap((command, i) => (command.includes(' serve ') ? [i] : []));
    assert.equal(starts.length, 2);
    assert.ok(starts[0]! < kill && kill < starts[1]!);
    for (const method of ['Publish', 'Subscribe', 'Acknowledge', 'Read']) {
      assert.ok(
        commands.some((command) => command.includes(`sluice.v1.Broker/${method}`)),
        method,
      );
    }
  });

  function contentOf(file: string): string {
    try {
      return readFileSync(join(directory, file), 'utf8');
    } catch {
      return '';
    }
  }

  /** Of the newest broker; before the first one serves, the address of the page. */
  function brokerAddress(): string {
    const port = /"address":"127\.0\.0\.1:(\d+)"/.exec(contentOf(brokerLog))?.[1];
    return port === undefined ? pageAddress : `localhost:${port}`;
  }

  async function waitForText(file: string, text: string): Promise<void> {
    const watcher = watch(directory);
    watchers.push(watcher);
    // Changes that come while the file is being read are noticed too: the watcher was there before.
    let changed = nextChange();
    while (!contentOf(file).includes(text)) {
      await changed;
      changed = nextChange();
    }
    watcher.close();
    if (file.endsWith('.log')) brokerLog = file;
    function nextChange(): Promise<void> {
      return new Promise((resolve) => watcher.once('change', () => resolve()));
    }
  }
});
