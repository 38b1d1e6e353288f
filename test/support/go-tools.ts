import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDirectory } from './repository.js';

const run = promisify(execFile);

/** A program that people use with gRPC, built from its Go module. Pinned, so that a new release can't change a test. */
interface GoTool {
  readonly name: string;
  readonly module: string;
  readonly version: string;
}

const grpcurl: GoTool = {
  name: 'grpcurl',
  module: 'github.com/fullstorydev/grpcurl/cmd/grpcurl',
  version: 'v1.9.3',
};
const ghz: GoTool = { name: 'ghz', module: 'github.com/bojand/ghz/cmd/ghz', version: 'v0.120.0' };

/** A cold build takes a minute or two. */
const buildLimitMs = 10 * 60_000;

const building = new Map<GoTool, Promise<string>>();

/** The directory that holds the real grpcurl. */
export function grpcurlDirectory(context: Mocha.Context): Promise<string> {
  return toolDirectory(grpcurl, context);
}

/** The directory that holds the real ghz. */
export function ghzDirectory(context: Mocha.Context): Promise<string> {
  return toolDirectory(ghz, context);
}

/**
 * Built once. Where that can't be done (there is no Go, say) the suite is skipped and says so; with CI=true it fails, so
 * that no build server skips it unseen.
 */
async function toolDirectory(tool: GoTool, context: Mocha.Context): Promise<string> {
  context.timeout(buildLimitMs);
  const { name, version } = tool;
  const directory = join(cacheDirectory, `${name}-${version}`);
  if (existsSync(join(directory, name))) return directory;
  try {
    const built = building.get(tool) ?? build(tool, directory);
    building.set(tool, built);
    return await built;
  } catch (error) {
    const message = `${name} can not be built with go: ${error instanceof Error ? error.message : error}`;
    if (process.env.CI === 'true') throw new Error(message, { cause: error });
    console.warn(`      skipped: ${message}`);
    return context.skip();
  }
}

async function build({ name, module, version }: GoTool, directory: string): Promise<string> {
  mkdirSync(cacheDirectory, { recursive: true });
  // Renamed when it is whole, so that a build that was broken off is not taken for one.
  const staging = mkdtempSync(join(cacheDirectory, `${name}-build-`));
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
