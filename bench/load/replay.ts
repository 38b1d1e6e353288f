import { systemClock } from '../../src/base/clock.js';
import { MiB } from '../../src/base/units.js';
import { Broker, SubscribeRequestSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import { encode, RawConnection } from '../../test/support/raw-grpc.js';
import { CpuMeter } from './cpu.js';
import { createRequestPool, type LoadShape, type RequestPool } from './request-pool.js';
import { type RunView, readDelivery } from './wire.js';

/**
 * One consumer works through a backlog: Subscribe, and Acknowledge of ranges. The backlog is what one
 * PublishStream wrote into one partition from the pool of `shape`, so every byte of it is known.
 */
export interface ReplayJob {
  readonly address: string;
  readonly subscription: string;
  readonly shape: LoadShape;
  readonly messageCount: number;
}

export interface ReplayResult {
  /** Delivered once each, in order, with the bytes that were published, and acknowledged. */
  readonly messageCount: number;
  readonly elapsedMs: number;
  readonly cpuShare: number;
}

/** Acknowledge calls without an answer: more ranges wait, and go together. */
const acknowledgesUnderWay = 4;

export async function runReplay(job: ReplayJob, onRunning: () => void): Promise<ReplayResult> {
  const backlog = new ExpectedBacklog(createRequestPool(job.shape));
  const connection = await RawConnection.connect(job.address, {
    streamWindowBytes: 8 * MiB,
    connectionWindowBytes: 16 * MiB,
  });
  const meter = new CpuMeter();
  onRunning();
  const startMs = systemClock.monotonicMs();
  await replay(connection, job, backlog);
  const elapsedMs = systemClock.monotonicMs() - startMs;
  connection.destroy();
  return { messageCount: backlog.position, elapsedMs, cpuShare: meter.share };
}

function replay(connection: RawConnection, job: ReplayJob, backlog: ExpectedBacklog): Promise<void> {
  return new Promise((resolve, reject) => {
    let sessionId = '';
    let acknowledgedThrough = 0;
    let settledCount = 0;
    let underWay = 0;

    const acknowledge = async (): Promise<void> => {
      const first = acknowledgedThrough;
      const last = backlog.position - 1;
      acknowledgedThrough = backlog.position;
      underWay += 1;
      const answer = await connection.unary(Broker.method.acknowledge, {
        sessionId,
        settlements: [
          {
            offsets: { partition: 0, firstOffset: BigInt(first), lastOffset: BigInt(last) },
            outcome: { case: 'ack', value: {} },
          },
        ],
      });
      underWay -= 1;
      if (Number(answer.settledCount) !== last - first + 1) {
        throw new Error(`${answer.settledCount} settled of ${first}..${last}`);
      }
      settledCount += last - first + 1;
      if (settledCount === job.messageCount) resolve();
      else next();
    };
    const next = () => {
      if (underWay < acknowledgesUnderWay && acknowledgedThrough < backlog.position) {
        acknowledge().catch(reject);
      }
    };

    const stream = connection.open(Broker.method.subscribe, {
      onMessage: (message) => {
        const delivery = readDelivery(message);
        sessionId = delivery.opened?.sessionId ?? sessionId;
        for (const run of delivery.runs) backlog.check(run);
        next();
      },
      onEnd: (status) => reject(new Error(`the session ended: ${status.code} ${status.message}`)),
    });
    const { subscription, shape } = job;
    const flowControl = { maxOutstandingMessages: 200_000, maxOutstandingBytes: BigInt(64 * MiB) };
    stream.write(encode(SubscribeRequestSchema, { topic: shape.topic, subscription, flowControl }));
    stream.end();
  });
}

/** Knows every byte of the backlog, and where in it the consumer is. */
class ExpectedBacklog {
  readonly #pool: RequestPool;
  #position = 0;
  /** Request of the pool in which the position lies, and how many bytes of its messages lie behind it. */
  #request = 0;
  #bytesPassed = 0;

  constructor(pool: RequestPool) {
    this.#pool = pool;
  }

  /** The offset that comes next. */
  get position(): number {
    return this.#position;
  }

  check({ partition, firstOffset, count, messages }: RunView): void {
    if (partition !== 0 || firstOffset !== this.#position) {
      throw new Error(`delivered ${partition}@${firstOffset}, expected 0@${this.#position}`);
    }
    const { wire, starts, bodyBytes } = this.#pool;
    for (let at = 0; at < messages.byteLength; ) {
      const rest = bodyBytes[this.#request]! - this.#bytesPassed;
      const length = Math.min(rest, messages.byteLength - at);
      const from = starts[this.#request + 1]! - rest;
      if (Buffer.compare(messages.subarray(at, at + length), wire.subarray(from, from + length)) !== 0) {
        throw new Error(`other bytes than were published, behind offset ${firstOffset}`);
      }
      at += length;
      this.#bytesPassed += length;
      if (length === rest) {
        this.#request = (this.#request + 1) % bodyBytes.length;
        this.#bytesPassed = 0;
      }
    }
    this.#position += count;
  }
}
