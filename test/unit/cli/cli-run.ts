import { Writable } from 'node:stream';
import type { Clock } from '../../../src/base/clock.js';
import { commands } from '../../../src/cli/commands.js';
import { Output } from '../../../src/cli/output.js';
import { run } from '../../../src/cli/run.js';

export interface CliOptions {
  readonly stdin?: AsyncIterable<Uint8Array>;
  readonly env?: Readonly<Record<string, string>>;
  /** Where stdout goes instead of into the result. */
  readonly stdout?: Writable;
  readonly interrupted?: AbortSignal;
  /** Default: one whose waits take no time. */
  readonly clock?: Clock;
}

export interface CliResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs a command line as `main.ts` does, in this process. */
export async function runCli(argv: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const stdout = collect();
  const stderr = collect();
  const exitCode = await run(commands, argv, {
    stdin: options.stdin ?? bytesOf(),
    stdout: new Output(options.stdout ?? stdout.stream),
    stderr: new Output(stderr.stream),
    env: options.env ?? {},
    clock: options.clock ?? hurriedClock(),
    version: '1.2.3',
    interrupted: options.interrupted ?? new AbortController().signal,
  });
  return { exitCode, stdout: stdout.bytes(), stderr: stderr.bytes().toString() };
}

/** An input of these chunks. */
export async function* bytesOf(...chunks: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

function collect(): { stream: Writable; bytes: () => Buffer } {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  return { stream, bytes: () => Buffer.concat(chunks) };
}

/** A clock on which every timer is due at the next turn of the event loop, and time is then what it waited for. */
function hurriedClock(): Clock {
  let nowMs = 1_000_000;
  return {
    wallMs: () => nowMs,
    monotonicMs: () => nowMs,
    after(delayMs, wake) {
      const handle = setImmediate(() => {
        nowMs += delayMs;
        wake();
      });
      return { cancel: () => clearImmediate(handle) };
    },
  };
}
