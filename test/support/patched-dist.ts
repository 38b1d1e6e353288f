import assert from 'node:assert/strict';
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { distDirectory, repositoryRoot } from './repository.js';

/** A line of the compiled code, and what breaks a promise. */
export interface Patch {
  readonly path: string;
  readonly right: string;
  readonly wrong: string;
}

/** Copies these parts of the compiled code into a directory, with the patch in it. Returns the `dist` of the copy. */
export function patchedDist(
  directory: string,
  parts: readonly string[],
  { path, right, wrong }: Patch,
): string {
  const dist = join(directory, 'dist');
  for (const part of parts) cpSync(join(distDirectory, part), join(dist, part), { recursive: true });
  for (const name of ['node_modules', 'package.json']) {
    symlinkSync(join(repositoryRoot, name), join(directory, name));
  }
  const source = readFileSync(join(dist, path), 'utf8');
  assert.equal(source.split(right).length, 2, `${path} has changed: adapt what is replaced`);
  writeFileSync(join(dist, path), source.replace(right, wrong));
  return dist;
}
