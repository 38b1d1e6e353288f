import { unreachable } from '../../src/base/invariant.js';
import { runConsume } from './consume.js';
import { runDeliver } from './deliver.js';
import type { JobKind, Jobs, WorkerReply, WorkerRequest } from './jobs.js';
import { runLatency } from './latency.js';
import { runPublish } from './publish.js';
import { runRead } from './read.js';
import { runReplay } from './replay.js';

/** A process that makes load: one job, then it ends. */

function reply(message: WorkerReply): Promise<void> {
  return new Promise((resolve) => {
    process.send?.(message, () => resolve());
  });
}

function run(request: WorkerRequest): Promise<Jobs[JobKind]['result']> {
  const onRunning = () => void reply({ kind: 'running' });
  switch (request.kind) {
    case 'publish':
      return runPublish(request.job, onRunning);
    case 'consume':
      return runConsume(request.job, onRunning);
    case 'read':
      return runRead(request.job, onRunning);
    case 'latency':
      return runLatency(request.job, onRunning);
    case 'deliver':
      return runDeliver(request.job, onRunning);
    case 'replay':
      return runReplay(request.job, onRunning);
    default:
      return unreachable(request);
  }
}

process.once('message', async (request: WorkerRequest) => {
  try {
    await reply({ kind: 'result', result: await run(request) });
  } catch (error) {
    await reply({
      kind: 'failed',
      message: error instanceof Error ? (error.stack ?? error.message) : `${error}`,
    });
  }
  process.exit();
});
