import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { withoutSettings } from './broker-process.js';
import { cliPath, distDirectory } from './repository.js';

export interface CliExit {
  readonly exitCode: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface CliProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<CliExit>;
}

/** The real command `sluice`, as a child process with pipes, calling this broker. */
export function spawnCli(server: string, argv: readonly string[]): CliProcess {
  const child = spawn(process.execPath, [join(distDirectory, cliPath), ...argv], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...withoutSettings(process.env), SLUICE_SERVER: server },
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk) => stdout.push(chunk));
  child.stderr.on('data', (chunk) => stderr.push(chunk));
  // Writes to a process that has ended already may fail.
  child.stdin.on('error', () => {});
  const exited = new Promise<CliExit>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode) =>
      resolve({ exitCode, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }),
    );
  });
  return { child, exited };
}

/** Runs a command line to its end. */
export function execCli(server: string, argv: readonly string[], stdin = ''): Promise<CliExit> {
  const { child, exited } = spawnCli(server, argv);
  child.stdin?.end(stdin);
  return exited;
}
