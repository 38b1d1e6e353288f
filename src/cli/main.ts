#!/usr/bin/env -S node --initial-old-space-size=256 --v8-pool-size=1 --no-allocation-site-pretenuring
import { readFileSync } from 'node:fs';
import { systemClock } from '../base/clock.js';
import { limits } from '../base/limits.js';
import { commands } from './commands.js';
import { ExitCode } from './exit.js';
import { Output } from './output.js';
import { run } from './run.js';

// Deprecation warnings are for programmers, not for users: the gRPC library calls Node in a deprecated way for
// each TLS connection to an IP address.
process.noDeprecation = true;

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // The first interrupt lets the command finish its work; the second one ends it.
    // `serve` may have found already why it ends.
    if (interrupt.signal.aborted) process.exit(process.exitCode ?? ExitCode.interrupted);
    interrupt.abort();
    // A command that waits for a full pipe or a hanging broker is ended after a time. `serve` limits its own
    // steps.
    if (process.argv[2] !== 'serve') {
      systemClock.after(limits.cliInterruptLimitMs, () => {
        process.stderr.write('sluice: interrupted, and the command did not end in time\n');
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
// Everything has been written by now. An open stdin must not keep the process alive.
process.exit(exitCode);
