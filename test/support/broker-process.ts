import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '../../src/base/clock.js';
import { cliPath, distDirectory } from './repository.js';

export interface BrokerOptions {
  /** Default: a temporary directory, removed by `dispose`. */
  readonly dataDirectory?: string;
  /** Further arguments of `sluice serve`. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The compiled code to run. Default: this working tree's. */
  readonly dist?: string;
  /** The compiled command line to run. Default: the one in `dist`. */
  readonly command?: string;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Longest time that a start may take: recovery included. */
const startLimitMs = 120_000;
const keptLogLines = 2_000;
/** With which flags the command's first line starts Node: `#!/usr/bin/env -S node --flag …`. */
function nodeFlags(path: string): string[] {
  const [firstLine = ''] = readFileSync(path, 'utf8').split('\n', 1);
  return firstLine.split(' ').slice(3);
}

/** The environment without settings of the broker: a test says itself what it wants, and unknown ones are refused. */
export function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('SLUICE_')));
}

/** Ends every broker with the process that started it, whatever ends that. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A real broker: `sluice serve` as a child process, on a free port of the loopback interface. */
export class BrokerProcess {
  readonly dataDirectory: string;
  /** The last lines that it logged, over all restarts. */
  readonly logLines: string[] = [];
  readonly #options: BrokerOptions;
  readonly #ownsDirectory: boolean;
  #child: ChildProcess | undefined;
  #exit: Promise<Exit> = Promise.resolve({ code: 0, signal: null });
  #address = '';

  /** Not started yet: see `start` and `spawn`. */
  constructor(options: BrokerOptions = {}) {
    this.#options = options;
    this.#ownsDirectory = options.dataDirectory === undefined;
    this.dataDirectory = options.dataDirectory ?? mkdtempSync(join(tmpdir(), 'sluice-test-'));
  }

  /** Starts a broker and waits until it serves. */
  static async start(options: BrokerOptions = {}): Promise<BrokerProcess> {
    const broker = new BrokerProcess(options);
    try {
      await broker.start();
    } catch (error) {
      await broker.dispose();
      throw error;
    }
    return broker;
  }

  /** `host:port`. Each start brings a new port. */
  get address(): string {
    return this.#address;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('the broker is not running');
    return pid;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /** Resolves when the process that runs now has ended. */
  get exited(): Promise<Exit> {
    return this.#exit;
  }

  /** Starts on the same data directory and waits until it serves. Rejects with the log when it ends instead. */
  async start(): Promise<void> {
    const serving = this.spawn();
    const limit = systemClock.after(startLimitMs, () => this.#child?.kill('SIGKILL'));
    try {
      this.#address = await serving;
    } finally {
      limit.cancel();
    }
  }

  /** Starts the process; the answer is its address once it serves. For tests that do not wait for that. */
  spawn(): Promise<string> {
    if (this.#child !== undefined) throw new Error('the broker is running already');
    const { dist = distDirectory, args = [], env = {} } = this.#options;
    const serve = ['serve', '--listen', '127.0.0.1:0', '--data-dir', this.dataDirectory];
    const { command = join(dist, cliPath) } = this.#options;
    const child = spawn(
      process.execPath,
      [...nodeFlags(command), command, ...serve, '--log-format', 'json', ...args],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...withoutSettings(process.env), ...env },
      },
    );
    this.#child = child;
    running.add(child);
    this.#exit = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        running.delete(child);
        if (this.#child === child) this.#child = undefined;
        resolve({ code, signal });
      });
    });
    return new Promise((resolve, reject) => {
      for (const output of [child.stdout, child.stderr]) {
        createInterface({ input: output }).on('line', (line) => {
          this.#keep(line);
          const address = servingAddress(line);
          if (address !== undefined) resolve(address);
        });
      }
      child.once('error', reject);
      void this.#exit.then(({ code, signal }) => {
        reject(
          new Error(`the broker ended (code ${code}, signal ${signal}) before it served\n${this.tail()}`),
        );
      });
    });
  }

  /** kill -9, and waits until the process is gone. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exit;
  }

  /** Asks for an orderly end and waits for it. */
  stop(): Promise<Exit> {
    this.#child?.kill('SIGTERM');
    return this.#exit;
  }

  /** kill -9 unless it is down, then a start on the same directory. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** Kills what runs and removes the directory if it was made here. */
  async dispose(): Promise<void> {
    await this.kill();
    if (this.#ownsDirectory) rmSync(this.dataDirectory, { recursive: true, force: true });
  }

  /** Memory that the process holds now; 0 when it is not running. */
  rssBytes(): number {
    return statusKiB(this.#child?.pid, 'VmRSS') * 1024;
  }

  /** Processor time that the process has used, over all its threads; 0 when it is not running. */
  cpuSeconds(): number {
    const pid = this.#child?.pid;
    return pid === undefined ? 0 : processorSeconds(pid);
  }

  /** The end of the log, for messages of failed tests. */
  tail(lines = 60): string {
    return this.logLines.slice(-lines).join('\n');
  }

  #keep(line: string): void {
    this.logLines.push(line);
    if (this.logLines.length > 2 * keptLogLines) this.logLines.splice(0, keptLogLines);
  }
}

function servingAddress(line: string): string | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const entry = JSON.parse(line) as { msg?: unknown; message?: unknown; address?: unknown };
    const isServing = (entry.msg ?? entry.message) === 'serving';
    return isServing && typeof entry.address === 'string' ? entry.address : undefined;
  } catch {
    // Half a line of a process that was killed.
    return undefined;
  }
}

/** Processor time that a process has used, over all its threads; 0 when there is none. */
export function processorSeconds(pid: number): number {
  // After the name in parentheses, which may hold blanks: state is field 3, utime 14, stime 15, in 1/100 s.
  const fields = (readProc(`/proc/${pid}/stat`).split(') ').at(-1) ?? '').split(' ');
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / 100;
}

function statusKiB(pid: number | undefined, field: string): number {
  if (pid === undefined) return 0;
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readProc(`/proc/${pid}/status`));
  return Number(match?.[1] ?? 0);
}

/** Empty when the process has just ended. */
function readProc(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/**
 * A broker for the tests of a suite, started before the first and removed after the last. A failed test shows
 * the end of its log.
 */
export function useBroker(options: BrokerOptions = {}): BrokerProcess {
  const broker = new BrokerProcess(options);
  before(() => broker.start());
  showLogOnFailure(() => broker);
  after(() => broker.dispose());
  return broker;
}

/** Shows the end of the broker's log under each failed test of the suite. */
export function showLogOnFailure(broker: () => BrokerProcess | undefined): void {
  afterEach(function (this: Mocha.Context) {
    if (this.currentTest?.state !== 'failed') return;
    console.error(`--- log of the broker\n${broker()?.tail() ?? '(none was started)'}\n---`);
  });
}
