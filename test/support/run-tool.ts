import { execFile } from 'node:child_process';

export interface ToolResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever that is. */
export function runTool(path: string, args: readonly string[]): Promise<ToolResult> {
  return new Promise((resolve) => {
    execFile(path, [...args], { encoding: 'utf8' }, (error, stdout, stderr) => {
      resolve({ exitCode: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}
