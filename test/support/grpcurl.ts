import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDirectory } from './repository.js';

const run = promisify(execFile);

/** Pinned, so that a new release can't change a test. */
const version = 'v1.9.3';
const module = 'github.com/fullstorydev/grpcurl/cmd/grpcurl';
/** A cold build takes a minute or two. */
const buildLimitMs = 10 * 60_000;

let building: Promise<string> | undefined;

/**
 * The directory that holds the real grpcurl, built once from its Go module. Where that can't be done (there
 * is no Go, say) the suite is skipped and says so; with CI=true it fails, so that no build server skips it unseen.
 */
export async function grpcurlDirectory(context: Mocha.Context): Promise<string> {
  context.timeout(buildLimitMs);
  const directory = join(cacheDirectory, `grpcurl-${version}`);
  if (existsSync(join(directory, 'grpcurl'))) return directory;
  try {
    building ??= build(directory);
    return await building;
  } catch (error) {
    const message = `grpcurl can not be built with go: ${error instanceof Error ? error.message : error}`;
    if (process.env.CI === 'true') throw new Error(message, { cause: error });
    console.warn(`      skipped: ${message}`);
    return context.skip();
  }
}

async function build(directory: string): Promise<string> {
  mkdirSync(cacheDirectory, { recursive: true });
  // Renamed when it is whole, so that a build that was broken off is not taken for one.
  const staging = mkdtempSync(join(cacheDirectory, 'grpcurl-build-'));
  try {
    await run('go', ['install', `${module}@${version}`], {
      env: { ...process.env, GOBIN: staging },
      timeout: buildLimitMs,
    });
    rmSync(directory, { recursive: true, force: true });
    renameSync(staging, directory);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  return directory;
}
