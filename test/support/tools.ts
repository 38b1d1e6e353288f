import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { resolve } from 'node:path';

const cache = resolve('node_modules/.cache/bin');
const grpcurlVersion = 'v1.9.3';

/** Builds grpcurl once, with Go. Undefined, with a word why, where there is no Go or nothing to build it from. */
export function findGrpcurl(): { readonly path?: string; readonly whyNot: string } {
  const path = resolve(cache, 'grpcurl');
  if (existsSync(path)) return { path, whyNot: '' };
  mkdirSync(cache, { recursive: true });
  const module = `github.com/fullstorydev/grpcurl/cmd/grpcurl@${grpcurlVersion}`;
  const built = spawnSync('go', ['install', module], {
    env: { ...process.env, GOBIN: cache },
    encoding: 'utf8',
  });
  if (built.error !== undefined) return { whyNot: 'there is no Go' };
  return built.status === 0 ? { path, whyNot: '' } : { whyNot: `grpcurl does not build: ${built.stderr}` };
}

export interface ToolResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. */
export function runTool(path: string, args: readonly string[]): Promise<ToolResult> {
  return new Promise((done) => {
    execFile(path, [...args], { encoding: 'utf8' }, (error, stdout, stderr) => {
      done({ exitCode: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}
