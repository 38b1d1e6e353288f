import { systemClock } from '../../src/base/clock.js';
import { StatusCode } from '../../src/base/reasons.js';
import { Broker, ReadRequestSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import { encode, RawConnection } from '../../test/support/raw-grpc.js';
import { type Sample, SampleLog } from './samples.js';

/** Reads what a topic holds from its beginning to its end, over and over. */
export interface ReadJob {
  readonly address: string;
  readonly topic: string;
  /** What one pass brings, about: anything shorter is a fault. */
  readonly storedBytes: number;
  readonly durationMs: number;
  readonly sampleEveryMs: number;
}

export interface ReadResult {
  readonly passCount: number;
  readonly samples: readonly Sample[];
}

export async function runRead(job: ReadJob, onRunning: () => void): Promise<ReadResult> {
  const connection = await RawConnection.connect(job.address);
  const endMs = systemClock.monotonicMs() + job.durationMs;
  let byteCount = 0;
  let passCount = 0;
  const log = new SampleLog(job.sampleEveryMs, () => byteCount);
  onRunning();
  while (systemClock.monotonicMs() < endMs) {
    const before = byteCount;
    await new Promise<void>((resolve, reject) => {
      const stream = connection.open(Broker.method.read, {
        onMessage: (message) => {
          byteCount += message.byteLength;
          if (systemClock.monotonicMs() >= endMs) stream.cancel();
        },
        onEnd: ({ code, message }) => {
          if (code === StatusCode.OK || systemClock.monotonicMs() >= endMs) resolve();
          else reject(new Error(`reading: ${code} ${message}`));
        },
      });
      stream.write(encode(ReadRequestSchema, { topic: job.topic }));
      stream.end();
    });
    if (systemClock.monotonicMs() >= endMs) break;
    if (byteCount - before < job.storedBytes) throw new Error(`a pass brought ${byteCount - before} bytes`);
    passCount++;
  }
  connection.destroy();
  return { passCount, samples: log.stop() };
}
