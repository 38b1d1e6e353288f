import { systemClock } from '../../src/base/clock.js';
import { Broker, ConsumeRequestSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import { encode, RawConnection, type RawStream } from '../../test/support/raw-grpc.js';
import { type Sample, SampleLog } from './samples.js';
import { type RunView, readDelivery } from './wire.js';

/** Consumers that share a subscription in the order of its partitions, and settle what they get. */
export interface ConsumeJob {
  readonly address: string;
  readonly topic: string;
  readonly subscription: string;
  readonly consumers: number;
  readonly maxMessages: number;
  readonly maxBytes: number;
  readonly durationMs: number;
  readonly sampleEveryMs: number;
  /** From and until then, counted from the start, the first few consumers settle no more than this. */
  readonly slowdown?: {
    readonly consumers: number;
    readonly messagesPerSecond: number;
    readonly spans: readonly { readonly fromMs: number; readonly untilMs: number }[];
  };
}

export interface ConsumeResult {
  /** Delivered, each once and in the order of its partition. */
  readonly messageCount: number;
  /** Delivered bytes over time: of those that are never slowed down, and of the others. */
  readonly fast: readonly Sample[];
  readonly slow: readonly Sample[];
}

/** How often a slowed consumer settles its share. */
const tickMs = 100;

export async function runConsume(job: ConsumeJob, onRunning: () => void): Promise<ConsumeResult> {
  const progress = new PartitionProgress();
  const slowCount = job.slowdown?.consumers ?? 0;
  const consumers = await Promise.all(
    Array.from({ length: job.consumers }, async () => {
      return new SettlingConsumer(await RawConnection.connect(job.address), job, progress);
    }),
  );
  const slowed = consumers.slice(0, slowCount);
  const sum = (some: readonly SettlingConsumer[]) =>
    some.reduce((total, consumer) => total + consumer.byteCount, 0);
  const fastLog = new SampleLog(job.sampleEveryMs, () => sum(consumers.slice(slowCount)));
  const slowLog = new SampleLog(job.sampleEveryMs, () => sum(slowed));
  onRunning();
  if (job.slowdown !== undefined) {
    const { messagesPerSecond, spans } = job.slowdown;
    for (const { fromMs, untilMs } of spans) {
      systemClock.after(fromMs, () => {
        for (const consumer of slowed) consumer.limit(messagesPerSecond);
      });
      systemClock.after(untilMs, () => {
        for (const consumer of slowed) consumer.limit(undefined);
      });
    }
  }
  const over = new Promise<void>((resolve) => systemClock.after(job.durationMs, resolve));
  await Promise.race([over, ...consumers.map((consumer) => consumer.broken)]);
  for (const consumer of consumers) consumer.close();
  return { messageCount: progress.messageCount, fast: fastLog.stop(), slow: slowLog.stop() };
}

/** Every partition has one consumer at a time, so its offsets come without gap or repetition, whichever consumer has it. */
class PartitionProgress {
  readonly #next = new Map<number, number>();
  messageCount = 0;

  check({ partition, firstOffset, count }: RunView): void {
    const expected = this.#next.get(partition) ?? 0;
    if (firstOffset !== expected) {
      throw new Error(`delivered ${partition}@${firstOffset}, expected ${partition}@${expected}`);
    }
    this.#next.set(partition, firstOffset + count);
    this.messageCount += count;
  }
}

interface Range {
  readonly partition: number;
  first: number;
  readonly last: number;
}

class SettlingConsumer {
  byteCount = 0;
  /** Never resolves; rejects when the stream ends before its time. */
  readonly broken: Promise<never>;
  readonly #connection: RawConnection;
  readonly #stream: RawStream;
  readonly #unsettled: Range[] = [];
  #messagesPerTick: number | undefined;
  #nextSettlementId = 1n;

  constructor(connection: RawConnection, job: ConsumeJob, progress: PartitionProgress) {
    this.#connection = connection;
    let fail: (error: Error) => void;
    this.broken = new Promise((_, reject) => {
      fail = reject;
    });
    this.#stream = connection.open(Broker.method.consume, {
      onMessage: (message) => {
        for (const run of readDelivery(message).runs) {
          progress.check(run);
          this.byteCount += run.messages.byteLength;
          const { partition, firstOffset, count } = run;
          this.#unsettled.push({ partition, first: firstOffset, last: firstOffset + count - 1 });
        }
        if (this.#messagesPerTick === undefined) this.#settle(Number.POSITIVE_INFINITY);
      },
      onEnd: (status) => fail(new Error(`a consumer ended: ${status.code} ${status.message}`)),
    });
    this.broken.catch(() => 'heard of by the race, unless that is over');
    const { topic, subscription, maxMessages, maxBytes } = job;
    const flowControl = { maxOutstandingMessages: maxMessages, maxOutstandingBytes: BigInt(maxBytes) };
    this.#stream.write(encode(ConsumeRequestSchema, { subscribe: { topic, subscription, flowControl } }));
  }

  /** Undefined: settles at once what it gets. */
  limit(messagesPerSecond: number | undefined): void {
    const isTicking = this.#messagesPerTick !== undefined;
    this.#messagesPerTick = messagesPerSecond === undefined ? undefined : (messagesPerSecond * tickMs) / 1000;
    if (this.#messagesPerTick === undefined) this.#settle(Number.POSITIVE_INFINITY);
    else if (!isTicking) this.#tick();
  }

  close(): void {
    this.#connection.destroy();
  }

  #tick(): void {
    if (this.#messagesPerTick === undefined) return;
    this.#settle(this.#messagesPerTick);
    systemClock.after(tickMs, () => this.#tick());
  }

  #settle(mostMessages: number): void {
    const ranges: Range[] = [];
    for (let left = mostMessages; left > 0 && this.#unsettled.length > 0; ) {
      const range = this.#unsettled[0]!;
      const { partition, first, last } = range;
      const settledLast = Math.min(last, first + left - 1);
      ranges.push({ partition, first, last: settledLast });
      left -= settledLast - first + 1;
      if (settledLast === last) this.#unsettled.shift();
      else range.first = settledLast + 1;
    }
    if (ranges.length === 0) return;
    const settlements = ranges.map(({ partition, first, last }) => ({
      offsets: { partition, firstOffset: BigInt(first), lastOffset: BigInt(last) },
      outcome: { case: 'ack' as const, value: {} },
    }));
    const settlementId = this.#nextSettlementId++;
    this.#stream.write(encode(ConsumeRequestSchema, { settlementId, settlements }));
  }
}
