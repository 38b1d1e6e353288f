import assert from 'node:assert/strict';
import { type FSWatcher, mkdtempSync, readFileSync, rmSync, symlinkSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withoutSettings } from './broker-process.js';
import { repositoryRoot } from './repository.js';
import { Shell } from './shell.js';
import { matchesOutput, parseWalk, type WalkStep } from './walk.js';

/** Where the pages say that the broker listens. Here it takes a free port, and says in its log which. */
const pageAddress = 'localhost:7070';

/** Plays the walk of a page in a directory of its own: every command is run, and what it prints is compared. */
export class PageWalk {
  readonly steps: readonly WalkStep[];
  readonly #page: string;
  readonly #directory = mkdtempSync(join(tmpdir(), 'sluice-walk-'));
  readonly #shell: Shell;
  /** The file that the newest broker logs to. */
  #brokerLog = '';
  /** The step that is being taken. */
  #place = '';
  /** Ended in any case, so that a step that hangs can't keep the test runner. */
  readonly #watchers: FSWatcher[] = [];

  /** `page` as seen from the root of the repository; `tools`: directories with the programs that it uses. */
  constructor(page: string, tools: readonly string[]) {
    this.#page = page;
    this.steps = parseWalk(readFileSync(join(repositoryRoot, page), 'utf8'));
    for (const name of ['dist', 'node_modules', 'package.json']) {
      symlinkSync(join(repositoryRoot, name), join(this.#directory, name));
    }
    this.#shell = new Shell(this.#directory, {
      ...withoutSettings(process.env),
      PATH: [...tools, process.env.PATH].join(':'),
      SLUICE_LISTEN: '127.0.0.1:0',
      SLUICE_LOG_FORMAT: 'json',
    });
  }

  async play(): Promise<void> {
    for (const { line, command, expectedLines, waits } of this.steps) {
      this.#place = `${this.#page}:${line} ${command}`;
      for (const { file, text } of waits) await this.#waitForText(file, text);
      const { output } = await this.#shell.run(command.replaceAll(pageAddress, this.#brokerAddress()));
      const expected = expectedLines.join('\n');
      assert.ok(
        matchesOutput(expectedLines, output),
        `${this.#place}\nprinted:\n${output}\nexpected:\n${expected}`,
      );
    }
  }

  /** What there is to know after a step that failed. */
  report(): string {
    return `--- at ${this.#place}\n${this.#shell.output}\n--- ${this.#brokerLog}\n${this.#contentOf(this.#brokerLog)}---`;
  }

  async dispose(): Promise<void> {
    for (const watcher of this.#watchers) watcher.close();
    await this.#shell.dispose();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #contentOf(file: string): string {
    try {
      return readFileSync(join(this.#directory, file), 'utf8');
    } catch {
      return '';
    }
  }

  /** Of the newest broker; before the first one serves, the address of the page. */
  #brokerAddress(): string {
    const serving = this.#contentOf(this.#brokerLog)
      .split('\n')
      .find((line) => line.includes('"message":"serving"'));
    const port = /"address":"127\.0\.0\.1:(\d+)"/.exec(serving ?? '')?.[1];
    return port === undefined ? pageAddress : `localhost:${port}`;
  }

  async #waitForText(file: string, text: string): Promise<void> {
    const watcher = watch(this.#directory);
    this.#watchers.push(watcher);
    const nextChange = () => new Promise<void>((resolve) => watcher.once('change', () => resolve()));
    // Changes that come while the file is being read are noticed too: the watcher was there before.
    let changed = nextChange();
    while (!this.#contentOf(file).includes(text)) {
      await changed;
      changed = nextChange();
    }
    watcher.close();
    if (file.endsWith('.log')) this.#brokerLog = file;
  }
}
