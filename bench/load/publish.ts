import { systemClock } from '../../src/base/clock.js';
import { StatusCode } from '../../src/base/reasons.js';
import { Broker } from '../../src/gen/sluice/v1/broker_pb.js';
import { pathOf, RawConnection, RawGrpcError, type RawStream } from '../../test/support/raw-grpc.js';
import { CpuMeter } from './cpu.js';
import { createRequestPool, type LoadShape, type RequestPool } from './request-pool.js';
import { type Sample, SampleLog } from './samples.js';
import { readReceipt } from './wire.js';

/** Publishes as fast as receipts allow. */
export interface PublishJob {
  readonly address: string;
  readonly shape: LoadShape;
  readonly connections: number;
  /** Over all connections. */
  readonly streams: number;
  /** Requests of one stream without a receipt. */
  readonly requestsUnderWay: number;
  /** Receipts before this are not measured. */
  readonly warmupMs: number;
  /** Notes the receipted bytes this often, from the first to the last. Default: never. */
  readonly sampleEveryMs?: number;
  readonly until:
    | { readonly kind: 'time'; readonly measureMs: number }
    | { readonly kind: 'messages'; readonly count: number }
    | { readonly kind: 'bytes'; readonly count: number }
    /** The broker is going to be killed: that its streams break is the end, and no failure. */
    | { readonly kind: 'broken' };
}

export interface PublishResult {
  /** Receipted, over the whole run. */
  readonly messageCount: number;
  /** Encoded messages that were receipted, over the whole run. */
  readonly messageBytes: number;
  /** Messages a second, and encoded bytes a second, while it was measured. */
  readonly messageRate: number;
  readonly byteRate: number;
  readonly cpuShare: number;
  /** Receipted bytes over time, where they were asked for. */
  readonly samples: readonly Sample[];
}

export async function runPublish(job: PublishJob, onRunning: () => void): Promise<PublishResult> {
  const pool = createRequestPool(job.shape);
  const connections = await Promise.all(
    Array.from({ length: job.connections }, () => RawConnection.connect(job.address)),
  );
  const totals = new Totals(job);
  const streams = Array.from({ length: job.streams }, (_, i) => {
    const connection = connections[i % connections.length]!;
    // Each stream begins elsewhere, so that they do not send the same bytes at the same time.
    return new PublishingStream(connection, pool, Math.floor((i * pool.messageCounts.length) / job.streams), {
      requestsUnderWay: job.requestsUnderWay,
      endsWithBroker: job.until.kind === 'broken',
      totals,
    });
  });
  const log = new SampleLog(job.sampleEveryMs, () => totals.messageBytes);
  totals.startMeasuring(onRunning);
  await Promise.all(streams.map((stream) => stream.ended));
  for (const connection of connections) connection.destroy();
  return { ...totals.result(), samples: log.stop() };
}

/** What all streams of a job have achieved together. */
class Totals {
  readonly #until: PublishJob['until'];
  readonly #warmupMs: number;
  #messageCount = 0;
  #messageBytes = 0;
  #begin = { messageCount: 0, messageBytes: 0, meter: new CpuMeter() };
  #end: { messageCount: number; messageBytes: number; elapsedMs: number; cpuShare: number } | undefined;

  constructor({ until, warmupMs }: PublishJob) {
    this.#until = until;
    this.#warmupMs = warmupMs;
  }

  /** No more requests are to be sent. */
  get isOver(): boolean {
    return this.#end !== undefined;
  }

  get messageBytes(): number {
    return this.#messageBytes;
  }

  startMeasuring(onRunning: () => void): void {
    systemClock.after(this.#warmupMs, () => {
      this.#begin = {
        messageCount: this.#messageCount,
        messageBytes: this.#messageBytes,
        meter: new CpuMeter(),
      };
      onRunning();
      const until = this.#until;
      if (until.kind === 'time') systemClock.after(until.measureMs, () => this.#finish());
    });
  }

  add(messageCount: number, messageBytes: number): void {
    this.#messageCount += messageCount;
    this.#messageBytes += messageBytes;
    const until = this.#until;
    if (until.kind === 'messages' && this.#messageCount >= until.count) this.#finish();
    if (until.kind === 'bytes' && this.#messageBytes >= until.count) this.#finish();
  }

  #finish(): void {
    const { messageCount, messageBytes, meter } = this.#begin;
    this.#end ??= {
      messageCount: this.#messageCount - messageCount,
      messageBytes: this.#messageBytes - messageBytes,
      elapsedMs: meter.elapsedMs,
      cpuShare: meter.share,
    };
  }

  result(): Omit<PublishResult, 'samples'> {
    this.#finish();
    const end = this.#end!;
    return {
      messageCount: this.#messageCount,
      messageBytes: this.#messageBytes,
      messageRate: (end.messageCount * 1000) / end.elapsedMs,
      byteRate: (end.messageBytes * 1000) / end.elapsedMs,
      cpuShare: end.cpuShare,
    };
  }
}

interface StreamOptions {
  readonly requestsUnderWay: number;
  readonly endsWithBroker: boolean;
  readonly totals: Totals;
}

/** One PublishStream that keeps a fixed number of requests under way. */
class PublishingStream {
  /** Resolves when every request has its receipt and the stream has ended. */
  readonly ended: Promise<void>;
  readonly #pool: RequestPool;
  readonly #totals: Totals;
  readonly #stream: RawStream;
  /** Indices into the pool. Receipts come in the order of the requests. */
  #nextToSend: number;
  #nextToReceive: number;
  #underWay = 0;
  #owed: number;
  #willFlush = false;

  constructor(connection: RawConnection, pool: RequestPool, startAt: number, options: StreamOptions) {
    this.#pool = pool;
    this.#totals = options.totals;
    this.#nextToSend = startAt;
    this.#nextToReceive = startAt;
    this.#owed = options.requestsUnderWay;
    let end: { resolve: () => void; reject: (error: Error) => void };
    this.ended = new Promise((resolve, reject) => {
      end = { resolve, reject };
    });
    const method = Broker.method.publishStream;
    this.#stream = connection.open(method, {
      onMessage: (message) => this.#receive(message),
      onEnd: (status) => {
        const isExpected = status.code === StatusCode.UNAVAILABLE && options.endsWithBroker;
        if (isExpected || (status.code === StatusCode.OK && this.#underWay === 0)) end.resolve();
        else end.reject(new RawGrpcError(pathOf(method), status));
      },
    });
    this.#flush();
  }

  #receive(message: Uint8Array): void {
    const { batchId, messageCount, hasError } = readReceipt(message);
    const { messageCounts, bodyBytes } = this.#pool;
    const index = this.#nextToReceive;
    if (hasError || batchId !== index + 1 || messageCount !== messageCounts[index]) {
      throw new Error(
        `receipt of batch ${batchId} (error: ${hasError}, ${messageCount}), expected ${index + 1}`,
      );
    }
    this.#nextToReceive = (index + 1) % messageCounts.length;
    this.#underWay -= 1;
    this.#owed += 1;
    this.#totals.add(messageCount, bodyBytes[index]!);
    if (this.#willFlush) return;
    this.#willFlush = true;
    // Receipts that arrived together are answered with one write.
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#willFlush = false;
    if (this.#totals.isOver) {
      if (this.#underWay === 0) this.#stream.end();
      return;
    }
    const { wire, starts, messageCounts } = this.#pool;
    while (this.#owed > 0) {
      const from = this.#nextToSend;
      const to = Math.min(from + this.#owed, messageCounts.length);
      this.#stream.write(wire.subarray(starts[from], starts[to]));
      this.#owed -= to - from;
      this.#underWay += to - from;
      this.#nextToSend = to % messageCounts.length;
    }
  }
}
