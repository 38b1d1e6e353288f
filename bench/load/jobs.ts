import type { ConsumeJob, ConsumeResult } from './consume.js';
import type { DeliverJob, DeliverResult } from './deliver.js';
import type { LatencyJob, LatencyResult } from './latency.js';
import type { PublishJob, PublishResult } from './publish.js';
import type { ReadJob, ReadResult } from './read.js';
import type { ReplayJob, ReplayResult } from './replay.js';

/** What a worker process can be asked to do, and what it answers. */
export interface Jobs {
  publish: { job: PublishJob; result: PublishResult };
  consume: { job: ConsumeJob; result: ConsumeResult };
  read: { job: ReadJob; result: ReadResult };
  latency: { job: LatencyJob; result: LatencyResult };
  deliver: { job: DeliverJob; result: DeliverResult };
  replay: { job: ReplayJob; result: ReplayResult };
}

export type JobKind = keyof Jobs;

export type WorkerRequest = { [K in JobKind]: { readonly kind: K; readonly job: Jobs[K]['job'] } }[JobKind];

export type WorkerReply =
  /** The load is on. */
  | { readonly kind: 'running' }
  | { readonly kind: 'result'; readonly result: Jobs[JobKind]['result'] }
  | { readonly kind: 'failed'; readonly message: string };
