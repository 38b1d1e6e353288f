import { build, type Histogram } from 'hdr-histogram-js';
import { systemClock } from '../../src/base/clock.js';
import { createRandom } from '../../src/base/random.js';
import { MiB } from '../../src/base/units.js';
import {
  Broker,
  ConsumeRequestSchema,
  PublishStreamRequestSchema,
} from '../../src/gen/sluice/v1/broker_pb.js';
import { encode, RawConnection, type RawStatus, type RawStream } from '../../test/support/raw-grpc.js';
import { CpuMeter } from './cpu.js';
import { randomBytes } from './request-pool.js';
import { type DeliveryView, readDelivery, readReceipt } from './wire.js';

/**
 * A steady load at a fixed rate, whatever the broker does: a message has the time at which it was due, and every
 * latency counts from there. So a stall is seen by all the messages that fell into it (no coordinated omission).
 */
export interface LatencyJob {
  readonly address: string;
  readonly topic: string;
  readonly subscription: string;
  readonly messagesPerSecond: number;
  readonly payloadBytes: number;
  readonly streams: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  readonly seed: number;
}

/** Milliseconds. */
export interface LatencySummary {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  readonly count: number;
}

export interface LatencyResult {
  /** All of them published, delivered and acknowledged; warm-up included. */
  readonly messageCount: number;
  /** How late the generator itself sent: part of every other latency. */
  readonly sending: LatencySummary;
  /** Until the receipt, the delivery, the answer to the acknowledgement. */
  readonly receipted: LatencySummary;
  readonly delivered: LatencySummary;
  readonly settled: LatencySummary;
  readonly cpuShare: number;
}

const tickMs = 1;

export async function runLatency(job: LatencyJob, onRunning: () => void): Promise<LatencyResult> {
  const publishing = await RawConnection.connect(job.address);
  const consuming = await RawConnection.connect(job.address);
  const run = new LatencyRun(job);
  await run.openConsumer(consuming);
  run.openProducers(publishing);
  onRunning();
  await run.finished();
  publishing.destroy();
  consuming.destroy();
  return run.result();
}

class LatencyRun {
  readonly #job: LatencyJob;
  readonly #perTick: number;
  readonly #total: number;
  /** Messages before this number are not measured. */
  readonly #firstMeasured: number;
  readonly #template: Uint8Array;
  readonly #sending = microseconds();
  readonly #receipted = microseconds();
  readonly #delivered = microseconds();
  readonly #settled = microseconds();
  readonly #isDelivered: Uint8Array;
  /** For each stream the messages without a receipt, oldest first. */
  readonly #awaited: number[][] = [];
  /** Messages of the settlements that were not answered yet, by settlement id. */
  readonly #settling = new Map<number, number[]>();
  readonly #meter = new CpuMeter();
  #startMs = 0;
  #sentCount = 0;
  #receiptedCount = 0;
  #settledCount = 0;
  #nextSettlementId = 1;
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};
  readonly #finished: Promise<void>;

  constructor(job: LatencyJob) {
    this.#job = job;
    this.#perTick = Math.max(1, Math.round((job.messagesPerSecond * tickMs) / 1000));
    const ticks = (durationMs: number) => Math.ceil(durationMs / tickMs) * this.#perTick;
    this.#firstMeasured = ticks(job.warmupMs);
    this.#total = ticks(job.warmupMs + job.measureMs);
    this.#isDelivered = new Uint8Array(this.#total);
    const payload = randomBytes(job.payloadBytes, createRandom(job.seed));
    this.#template = encode(PublishStreamRequestSchema, {
      topic: job.topic,
      batchId: 1n,
      messages: [{ payload }],
    });
    this.#finished = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  finished(): Promise<void> {
    return this.#finished;
  }

  async openConsumer(connection: RawConnection): Promise<void> {
    await new Promise<void>((opened) => {
      const stream = connection.open(Broker.method.consume, {
        onMessage: (message) => {
          const delivery = readDelivery(message);
          if (delivery.opened !== undefined) opened();
          this.#receive(stream, delivery);
        },
        onEnd: (status) => this.#broke('the consumer', status),
      });
      const { topic, subscription } = this.#job;
      const flowControl = { maxOutstandingMessages: 100_000, maxOutstandingBytes: BigInt(64 * MiB) };
      stream.write(encode(ConsumeRequestSchema, { subscribe: { topic, subscription, flowControl } }));
    });
  }

  openProducers(connection: RawConnection): void {
    const streams = Array.from({ length: this.#job.streams }, (_, i) => {
      const awaited: number[] = [];
      this.#awaited.push(awaited);
      return connection.open(Broker.method.publishStream, {
        onMessage: (message) => {
          const { messageCount, hasError } = readReceipt(message);
          const sequence = awaited.shift();
          if (hasError || messageCount !== 1 || sequence === undefined) throw new Error('a wrong receipt');
          this.#receiptedCount += 1;
          this.#record(this.#receipted, sequence);
          this.#checkFinished();
        },
        onEnd: (status) => this.#broke(`producer ${i}`, status),
      });
    });
    this.#startMs = systemClock.monotonicMs();
    this.#tick(streams);
  }

  /** Sends everything that is due: after a stall of this process, all that fell into it. */
  #tick(streams: readonly RawStream[]): void {
    const dueTicks = Math.floor((systemClock.monotonicMs() - this.#startMs) / tickMs) + 1;
    const due = Math.min(dueTicks * this.#perTick, this.#total);
    const batches = streams.map(() => [] as Uint8Array[]);
    for (; this.#sentCount < due; this.#sentCount += 1) {
      const sequence = this.#sentCount;
      const request = Buffer.from(this.#template);
      request.writeUInt32LE(sequence, request.byteLength - this.#job.payloadBytes);
      batches[sequence % streams.length]!.push(request);
      this.#awaited[sequence % streams.length]!.push(sequence);
      this.#record(this.#sending, sequence);
    }
    for (const [i, batch] of batches.entries()) {
      if (batch.length > 0) streams[i]!.write(Buffer.concat(batch));
    }
    if (this.#sentCount < this.#total) systemClock.after(tickMs, () => this.#tick(streams));
  }

  #receive(stream: RawStream, { runs, settledIds }: DeliveryView): void {
    const settlements = [];
    const sequences: number[] = [];
    for (const { partition, firstOffset, count, messages } of runs) {
      const lastOffset = BigInt(firstOffset + count - 1);
      const offsets = { partition, firstOffset: BigInt(firstOffset), lastOffset };
      settlements.push({ offsets, outcome: { case: 'ack' as const, value: {} } });
      sequences.push(...this.#sequencesOf(messages, count));
    }
    for (const sequence of sequences) {
      if (this.#isDelivered[sequence] !== 0) throw new Error(`message ${sequence} was delivered twice`);
      this.#isDelivered[sequence] = 1;
      this.#record(this.#delivered, sequence);
    }
    if (settlements.length > 0) {
      const settlementId = this.#nextSettlementId;
      this.#nextSettlementId += 1;
      this.#settling.set(settlementId, sequences);
      stream.write(encode(ConsumeRequestSchema, { settlements, settlementId: BigInt(settlementId) }));
    }
    for (const id of settledIds) {
      for (const sequence of this.#settling.get(id) ?? []) {
        this.#settledCount += 1;
        this.#record(this.#settled, sequence);
      }
      this.#settling.delete(id);
    }
    this.#checkFinished();
  }

  /** Each payload begins with its message's number, and all messages have one size. */
  #sequencesOf(messages: Uint8Array, count: number): readonly number[] {
    const view = new DataView(messages.buffer, messages.byteOffset, messages.byteLength);
    const size = messages.byteLength / count;
    const at = size - this.#job.payloadBytes;
    return Array.from({ length: count }, (_, i) => view.getUint32(i * size + at, true));
  }

  #record(histogram: Histogram, sequence: number): void {
    if (sequence < this.#firstMeasured) return;
    const dueMs = this.#startMs + Math.floor(sequence / this.#perTick) * tickMs;
    histogram.recordValue(Math.max(1, Math.round((systemClock.monotonicMs() - dueMs) * 1000)));
  }

  #checkFinished(): void {
    if (this.#settledCount === this.#total && this.#receiptedCount === this.#total) this.#resolve();
  }

  #broke(who: string, status: RawStatus): void {
    this.#reject(new Error(`the stream of ${who} ended: ${status.code} ${status.message}`));
  }

  result(): LatencyResult {
    return {
      messageCount: this.#total,
      sending: summaryOf(this.#sending),
      receipted: summaryOf(this.#receipted),
      delivered: summaryOf(this.#delivered),
      settled: summaryOf(this.#settled),
      cpuShare: this.#meter.share,
    };
  }
}

function microseconds(): Histogram {
  return build({ highestTrackableValue: 600_000_000, numberOfSignificantValueDigits: 3 });
}

function summaryOf(histogram: Histogram): LatencySummary {
  const percentileMs = (percentile: number) => histogram.getValueAtPercentile(percentile) / 1000;
  return {
    p50: percentileMs(50),
    p99: percentileMs(99),
    p999: percentileMs(99.9),
    max: histogram.maxValue / 1000,
    count: histogram.totalCount,
  };
}
