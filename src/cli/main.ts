#!/usr/bin/env -S node --initial-old-space-size=256 --v8-pool-size=1 --no-allocation-site-pretenuring
import { readFileSync } from 'node:fs';
import { systemClock } from '../base/clock.js';
import { limits } from '../base/limits.js';
import { commands } from './commands.js';
import { ExitCode } from './exit.js';
import { Output } from './output.js';
import { run } from './run.js';

// Deprecations are for the programmers of this command, not for its users: the gRPC library calls Node in a deprecated
// way for each TLS connection to an IP address.
process.noDeprecation = true;

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // The first one lets the command finish what it has begun; the second does not wait.
    if (interrupt.signal.aborted) process.exit(ExitCode.interrupted);
    interrupt.abort();
    // What waits for others, a pipe that is not read or a broker that hangs, does not wait for ever. `serve` bounds its
    // own steps.
    if (process.argv[2] !== 'serve') {
      systemClock.after(limits.cliInterruptLimitMs, () => {
        process.stderr.write('sluice: interrupted, and what was under way has not ended in time\n');
        process.exit(ExitCode.interrupted);
      });
    }
  });
}

const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
const exitCode = await run(commands, process.argv.slice(2), {
  version,
  stdin: process.stdin,
  stdout: new Output(process.stdout),
  stderr: new Output(process.stderr),
  env: process.env,
  clock: systemClock,
  interrupted: interrupt.signal,
});
// Everything has been written by now; an open stdin must not keep the process.
process.exit(exitCode);
