import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { withoutSettings } from './broker-process.js';
import { cliPath, distDirectory } from './repository.js';

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCommand {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
}

/** The real command line, as a process: `sluice <args>`. Lines of stdout go to `onLine` if given, and nowhere else. */
export function startSluice(args: readonly string[], onLine?: (line: string) => void): RunningCommand {
  const child = spawn(process.execPath, [join(distDirectory, cliPath), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: withoutSettings(process.env),
  });
  let stdout = '';
  let stderr = '';
  if (onLine !== undefined) createInterface({ input: child.stdout }).on('line', onLine);
  else {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
  }
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
  return { child, finished };
}

/** Runs a command to its end. Rejects, with what it said, when it fails. */
export async function sluice(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await startSluice(args).finished;
  if (code !== 0) throw new Error(`sluice ${args.join(' ')}: exit code ${code}\n${stderr}${stdout}`);
  return stdout;
}
