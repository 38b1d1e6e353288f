import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { JobKind, Jobs, WorkerReply } from './load/jobs.js';

const workerPath = fileURLToPath(new URL('./load/worker.js', import.meta.url));

/**
 * Runs one job in a process of its own, so that making the load and measuring the broker do not disturb each
 * other. `onRunning` is called when the load is on. Rejects when the job fails or its process ends early.
 */
export function runInWorker<K extends JobKind>(
  kind: K,
  job: Jobs[K]['job'],
  onRunning: () => void = () => {},
): Promise<Jobs[K]['result']> {
  return new Promise((resolve, reject) => {
    const worker = fork(workerPath, { serialization: 'advanced' });
    const killWithParent = () => worker.kill('SIGKILL');
    process.once('exit', killWithParent);
    worker.on('message', (reply: WorkerReply) => {
      if (reply.kind === 'running') onRunning();
      else if (reply.kind === 'failed') reject(new Error(`load worker: ${reply.message}`));
      else resolve(reply.result as Jobs[K]['result']);
    });
    worker.once('error', reject);
    worker.once('exit', (code, signal) => {
      process.off('exit', killWithParent);
      // Harmless after an answer.
      reject(new Error(`the load worker ended (code ${code}, signal ${signal}) without an answer`));
    });
    worker.send({ kind, job });
  });
}
