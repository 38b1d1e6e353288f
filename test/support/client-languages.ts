import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { repositoryRoot } from './repository.js';

const run = promisify(execFile);

/** The first build downloads compilers and libraries. */
export const buildLimitMs = 15 * 60_000;
const maxOutputBytes = 64 * 1024 * 1024;

/** A client of clients/, by its folder. */
export interface ClientLanguage {
  readonly name: string;
  /** What has to be on the PATH; where it is missing the language is skipped. */
  readonly tools: readonly string[];
}

export const clientLanguages: readonly ClientLanguage[] = [
  { name: 'typescript', tools: ['node'] },
  { name: 'python', tools: ['python3'] },
  { name: 'go', tools: ['go'] },
  { name: 'java', tools: ['javac', 'mvn'] },
];

export function interopProgram({ name }: ClientLanguage): string {
  return join(repositoryRoot, 'clients', name, 'build/interop');
}

/** `make -C clients/<name> <target>`: what it printed. Rejects with all of that when it fails. */
export async function makeClient({ name }: ClientLanguage, target: string): Promise<string> {
  try {
    const options = { maxBuffer: maxOutputBytes, timeout: buildLimitMs };
    const { stdout } = await run(
      'make',
      ['--no-print-directory', '-C', join(repositoryRoot, 'clients', name), target],
      options,
    );
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`make ${target} of the ${name} client failed:\n${stdout}\n${stderr}`, { cause: error });
  }
}

/** Which of a language's tools are not there. */
export async function missingTools({ tools }: ClientLanguage): Promise<string[]> {
  const missing: string[] = [];
  for (const tool of tools) {
    await run('sh', ['-c', `command -v ${tool}`]).catch(() => missing.push(tool));
  }
  return missing;
}

const builds = new Map<string, Promise<string>>();

/**
 * Builds a client, once for all suites. Where its toolchain is missing the suite is skipped and says so; with CI=true
 * it fails, so that no build server skips it unseen.
 */
export async function builtOrSkipped(language: ClientLanguage, context: Mocha.Context): Promise<void> {
  context.timeout(buildLimitMs);
  const missing = await missingTools(language);
  if (missing.length > 0) {
    const message = `the ${language.name} client needs ${missing.join(' and ')}, which is not there`;
    if (process.env.CI === 'true') throw new Error(message);
    console.warn(`      skipped: ${message}`);
    context.skip();
  }
  const build = builds.get(language.name) ?? makeClient(language, 'build');
  builds.set(language.name, build);
  await build;
}
