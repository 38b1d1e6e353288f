import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { cacheDirectory, repositoryRoot } from './repository.js';

const run = promisify(execFile);
const sources = join(repositoryRoot, 'test/flow-clients');

/** A library that speaks gRPC, with a program of test/flow-clients on top. */
export interface FlowClient {
  readonly name: string;
  /** Installs and builds what is missing; answers how the program is started. */
  build(): Promise<readonly string[]>;
}

const grpcGo: FlowClient = {
  name: 'grpc-go',
  async build() {
    mkdirSync(cacheDirectory, { recursive: true });
    const binary = join(cacheDirectory, 'flow-client-go');
    // Go finds out by itself what is still fresh.
    await run('go', ['build', '-o', binary, '.'], { cwd: join(sources, 'go') });
    return [binary];
  },
};

const grpcio: FlowClient = {
  name: 'grpcio',
  async build() {
    const requirements = join(sources, 'python/requirements.txt');
    const version = /==(\S+)/.exec(readFileSync(requirements, 'utf8'))![1]!;
    const python = join(cacheDirectory, `flow-client-python-${version}`, 'bin/python');
    if (!existsSync(join(python, '../../.installed'))) {
      await run('python3', ['-m', 'venv', join(python, '../..')]);
      await run(python, ['-m', 'pip', 'install', '--quiet', '--requirement', requirements]);
      await run('touch', [join(python, '../../.installed')]);
    }
    return [python, join(sources, 'python/main.py')];
  },
};

export const flowClients: readonly FlowClient[] = [grpcGo, grpcio];

/** One of those programs while it runs. */
export class RunningFlowClient {
  /** What it said last, of each name. */
  readonly said: Record<string, number> = {};
  readonly ended: Promise<void>;
  readonly #child: ChildProcessWithoutNullStreams;

  constructor(command: readonly string[], ...args: (string | number)[]) {
    const [program, ...fixed] = command;
    this.#child = spawn(program!, [...fixed, ...args.map(String)]);
    let stderr = '';
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      Object.assign(this.said, JSON.parse(line));
    });
    this.ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code) => {
        if (code === 0) resolve();
        else reject(new Error(`${args.join(' ')} ended with code ${code}: ${stderr}`));
      });
    });
    // The caller that waits for it gets a failure; until then it is unhandled.
    this.ended.catch(() => {});
  }

  writeLine(): void {
    this.#child.stdin.write('\n');
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
