import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory, repositoryRoot } from './repository.js';

/**
 * A library to preload into a process, from `test/support/<name>.c`. Built once for each version of its source.
 * Undefined where there is no gcc: the test is to be skipped, visibly.
 */
export function buildPreload(name: string): string | undefined {
  const source = join(repositoryRoot, 'test/support', `${name}.c`);
  const version = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16);
  const library = join(cacheDirectory, `${name}-${version}.so`);
  if (existsSync(library)) return library;
  mkdirSync(cacheDirectory, { recursive: true });
  const unfinished = `${library}.${process.pid}`;
  try {
    execFileSync('gcc', ['-shared', '-fPIC', '-O2', '-Wall', '-Werror', '-o', unfinished, source]);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  renameSync(unfinished, library);
  return library;
}
