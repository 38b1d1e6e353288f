import { systemClock } from '../../src/base/clock.js';
import { createRandom, type Random } from '../../src/base/random.js';
import { MiB } from '../../src/base/units.js';
import { Broker, ConsumeRequestSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import { processorSeconds } from '../../test/support/broker-process.js';
import { encode, RawConnection, type RawStream } from '../../test/support/raw-grpc.js';
import { CpuMeter } from './cpu.js';
import { DeliveryCheck } from './delivery-check.js';
import { IndividualSettlements } from './individual-settlements.js';
import { readDelivery } from './wire.js';

/**
 * Consumers share a backlog: Consume, and each message acknowledged by a settlement of its own. All that came
 * before a consumer turned to it goes back in one request, as clients that gather acknowledgements do.
 */
export interface DeliverJob {
  readonly address: string;
  readonly topic: string;
  readonly subscription: string;
  readonly partitionCount: number;
  /** How many of the stored messages are to be delivered. */
  readonly messageCount: number;
  readonly storedCount: number;
  /** Above 0: messages have keys of the request pool, and their order is checked. */
  readonly keyCount: number;
  readonly consumers: number;
  readonly outstandingMessages: number;
  readonly settlementsPerRequest: number;
  /** The settlements of a request are in no order: consumers that work on many messages at once. */
  readonly isShuffled: boolean;
  /** Whose processor time is noted for each tenth. */
  readonly brokerPid: number;
}

/** When so much of the messages had been settled. */
export interface Milestone {
  readonly elapsedMs: number;
  readonly brokerCpuSeconds: number;
}

export interface DeliverResult {
  /** Delivered once each, and acknowledged. */
  readonly messageCount: number;
  readonly elapsedMs: number;
  readonly cpuShare: number;
  /** By consumer. */
  readonly messageCounts: readonly number[];
  /** At the start, and after each tenth. */
  readonly tenths: readonly Milestone[];
}

export async function runDeliver(job: DeliverJob, onRunning: () => void): Promise<DeliverResult> {
  const connections = await Promise.all(
    Array.from({ length: job.consumers }, () =>
      RawConnection.connect(job.address, { streamWindowBytes: 8 * MiB, connectionWindowBytes: 16 * MiB }),
    ),
  );
  const run = new DeliverRun(job);
  const meter = new CpuMeter();
  onRunning();
  const messageCounts = await run.consume(connections);
  for (const connection of connections) connection.destroy();
  const { settledCount, tenths } = run;
  const { elapsedMs } = tenths.at(-1)!;
  return { messageCount: settledCount, elapsedMs, cpuShare: meter.share, messageCounts, tenths };
}

class DeliverRun {
  readonly job: DeliverJob;
  readonly check: DeliveryCheck;
  readonly random: Random = createRandom(1);
  readonly tenths: Milestone[] = [];
  readonly #startMs = systemClock.monotonicMs();
  settledCount = 0;
  #finish: { resolve: () => void; reject: (error: Error) => void } | undefined;

  constructor(job: DeliverJob) {
    this.job = job;
    this.check = new DeliveryCheck(job.partitionCount, job.storedCount, job.keyCount);
    this.#noteTenth();
  }

  async consume(connections: readonly RawConnection[]): Promise<readonly number[]> {
    const finished = new Promise<void>((resolve, reject) => {
      this.#finish = { resolve, reject };
    });
    const consumers = connections.map((connection, i) => new DeliverConsumer(connection, this, i));
    await finished;
    return consumers.map(({ messageCount }) => messageCount);
  }

  settled(count: number): void {
    this.settledCount += count;
    while (this.settledCount * 10 >= this.job.messageCount * this.tenths.length) this.#noteTenth();
    if (this.settledCount === this.job.messageCount) this.#finish?.resolve();
  }

  #noteTenth(): void {
    const elapsedMs = systemClock.monotonicMs() - this.#startMs;
    this.tenths.push({ elapsedMs, brokerCpuSeconds: processorSeconds(this.job.brokerPid) });
  }

  failed(error: Error): void {
    this.#finish?.reject(error);
  }
}

class DeliverConsumer {
  readonly #run: DeliverRun;
  readonly #number: number;
  readonly #stream: RawStream;
  readonly #settlements: IndividualSettlements;
  /** Delivered and not acknowledged: partition and offset of each. */
  #pending: number[] = [];
  /** Settlements of the requests that are not answered, by their id. */
  readonly #unanswered = new Map<number, number>();
  #lastSettlementId = 0;
  #willSettle = false;
  messageCount = 0;

  constructor(connection: RawConnection, run: DeliverRun, number: number) {
    this.#run = run;
    this.#number = number;
    this.#settlements = new IndividualSettlements(run.job.settlementsPerRequest);
    this.#stream = connection.open(Broker.method.consume, {
      onMessage: (message) => this.#receive(message),
      onEnd: (status) => run.failed(new Error(`consumer ${number} ended: ${status.code} ${status.message}`)),
    });
    const { topic, subscription, outstandingMessages } = run.job;
    const flowControl = {
      maxOutstandingMessages: outstandingMessages,
      maxOutstandingBytes: BigInt(64 * MiB),
    };
    this.#stream.write(encode(ConsumeRequestSchema, { subscribe: { topic, subscription, flowControl } }));
  }

  #receive(message: Uint8Array): void {
    try {
      const { runs, settledIds } = readDelivery(message);
      for (const run of runs) {
        this.#run.check.delivered(this.#number, run);
        this.messageCount += run.count;
        for (let i = 0; i < run.count; i += 1) this.#pending.push(run.partition, run.firstOffset + i);
      }
      for (const id of settledIds) {
        this.#run.settled(this.#unanswered.get(id)!);
        this.#unanswered.delete(id);
      }
      if (this.#willSettle || this.#pending.length === 0) return;
      this.#willSettle = true;
      setImmediate(() => this.#settle());
    } catch (error) {
      this.#run.failed(error instanceof Error ? error : new Error(`${error}`));
    }
  }

  #settle(): void {
    this.#willSettle = false;
    const pending = this.#pending;
    this.#pending = [];
    if (this.#run.job.isShuffled) this.#shuffle(pending);
    const { settlementsPerRequest } = this.#run.job;
    for (let i = 0; i < pending.length; i += 2) {
      this.#run.check.acknowledging(pending[i]!, pending[i + 1]!);
      this.#settlements.ack(pending[i]!, pending[i + 1]!);
      if (this.#settlements.count === settlementsPerRequest) this.#send();
    }
    if (this.#settlements.count > 0) this.#send();
  }

  #send(): void {
    this.#lastSettlementId += 1;
    this.#unanswered.set(this.#lastSettlementId, this.#settlements.count);
    this.#stream.write(this.#settlements.take(this.#lastSettlementId));
  }

  /** Fisher and Yates, over pairs. */
  #shuffle(pairs: number[]): void {
    for (let i = pairs.length / 2 - 1; i > 0; i -= 1) {
      const j = Math.floor(this.#run.random.next() * (i + 1));
      for (const k of [0, 1]) {
        const kept = pairs[2 * i + k]!;
        pairs[2 * i + k] = pairs[2 * j + k]!;
        pairs[2 * j + k] = kept;
      }
    }
  }
}
