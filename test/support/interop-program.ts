import { type ChildProcess, spawn } from 'node:child_process';
import { type ClientLanguage, interopProgram } from './client-languages.js';

/** What a program of clients/interop/README.md prints when it is done. */
export type InteropResult = Readonly<Record<string, unknown>>;

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Runs the program of a language to its end. Rejects, with what it said, when it fails or says no JSON. */
export function runInterop(language: ClientLanguage, ...args: (string | number)[]): Promise<InteropResult> {
  const what = `${language.name}: interop ${args.join(' ')}`;
  return new Promise((resolve, reject) => {
    const child = spawn(interopProgram(language), args.map(String), { stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', reject);
    child.once('close', (code) => {
      running.delete(child);
      const said = `${stdout.slice(0, 4_000)}\n${stderr.slice(-8_000)}`;
      if (code !== 0) {
        reject(new Error(`${what} ended with code ${code}\n${said}`));
        return;
      }
      try {
        resolve(JSON.parse(stdout) as InteropResult);
      } catch (error) {
        reject(new Error(`${what} did not print one line of JSON\n${said}`, { cause: error }));
      }
    });
  });
}
