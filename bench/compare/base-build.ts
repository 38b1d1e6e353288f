import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { repositoryRoot } from '../../test/support/repository.js';

/** npm notes here what it has installed, and `make` when. */
const installedLock = '.package-lock.json';

/** A commit, checked out and built in a scratch worktree of its own. */
export interface BaseBuild {
  readonly commit: string;
  readonly subject: string;
  /** Its compiled command line. */
  readonly command: string;
  /** Removes the worktree; harmless twice. */
  remove(): void;
}

/** Throws when there is no such commit, or it does not build. */
export function buildBase(revision: string): BaseBuild {
  const commit = git('rev-parse', '--verify', '--quiet', '--end-of-options', `${revision}^{commit}`);
  const scratch = mkdtempSync(join(tmpdir(), 'sluice-base-'));
  const worktree = join(scratch, 'worktree');
  const remove = () => {
    process.off('exit', remove);
    if (!existsSync(scratch)) return;
    rmSync(scratch, { recursive: true, force: true });
    git('worktree', 'prune');
  };
  process.once('exit', remove);
  try {
    git('worktree', 'add', '--quiet', '--detach', worktree, commit);
    if (hasSamePackages(worktree)) sharePackages(worktree);
    // Its own way to build, with its own packages where they differ.
    execFileSync('make', ['--no-print-directory', 'build'], {
      cwd: worktree,
      stdio: ['ignore', 2, 2],
      env: withoutMake(process.env),
    });
    return { commit, subject: git('log', '-1', '--format=%s', commit), command: commandOf(worktree), remove };
  } catch (error) {
    remove();
    throw error;
  }
}

/** What the working tree is, for the report. */
export function describeTree(): { readonly commit: string; readonly isChanged: boolean } {
  return { commit: git('rev-parse', 'HEAD'), isChanged: git('status', '--porcelain') !== '' };
}

function git(...args: readonly string[]): string {
  try {
    const stdio = ['ignore', 'pipe', 'pipe'] as const;
    return execFileSync('git', args, { cwd: repositoryRoot, encoding: 'utf8', stdio: [...stdio] }).trim();
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw new Error(`git ${args.join(' ')} failed${stderr ? `: ${stderr.trim()}` : ''}`);
  }
}

function hasSamePackages(worktree: string): boolean {
  const lock = (root: string) => readFileSync(join(root, 'package-lock.json'), 'utf8');
  if (!existsSync(join(worktree, 'package-lock.json'))) return false;
  return lock(worktree) === lock(repositoryRoot);
}

/** Links to each package of this tree; links to the base's own workspaces stay its own. */
function sharePackages(worktree: string): void {
  const from = join(repositoryRoot, 'node_modules');
  const to = join(worktree, 'node_modules');
  linkEach(from, to);
  // A copy, so that it is newer than what was just checked out: nothing is to be installed.
  copyFileSync(join(from, installedLock), join(to, installedLock));
}

function linkEach(from: string, to: string): void {
  mkdirSync(to);
  for (const name of readdirSync(from)) {
    if (name === installedLock || name === '.cache') continue;
    const source = join(from, name);
    const isLink = lstatSync(source).isSymbolicLink();
    if (name.startsWith('@') && !isLink) linkEach(source, join(to, name));
    else symlinkSync(isLink ? readlinkSync(source) : source, join(to, name));
  }
}

/** As its package.json says: the layout of the base may be another one. */
function commandOf(worktree: string): string {
  const { bin } = JSON.parse(readFileSync(join(worktree, 'package.json'), 'utf8')) as {
    bin?: Record<string, string>;
  };
  const command = bin?.sluice;
  if (command === undefined || !existsSync(join(worktree, command))) {
    throw new Error('the base has no command sluice: its package.json does not name one that exists');
  }
  return join(worktree, command);
}

/** The variables of the `make` that runs this are not meant for the base's. */
function withoutMake(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(MAKEFLAGS|MFLAGS|MAKELEVEL|MAKEOVERRIDES)$/.test(name)),
  );
}
