import { fromBinary } from '@bufbuild/protobuf';
import { systemClock } from '../../src/base/clock.js';
import { secondMs } from '../../src/base/units.js';
import { Admin } from '../../src/gen/sluice/v1/admin_pb.js';
import {
  Broker,
  ConsumeRequestSchema,
  ConsumeResponseSchema,
  PublishRequestSchema,
} from '../../src/gen/sluice/v1/broker_pb.js';
import { encode, RawConnection } from './raw-grpc.js';

/** A call that takes longer is not waited for. */
const giveUpMs = 30 * secondMs;

/**
 * An ordinary client beside an attack: publishes a message, has it delivered, and asks about its topic, again and again,
 * on one connection. Notes how long each call took.
 */
export class Canary {
  readonly #connection: RawConnection;
  readonly #topic: string;
  /** Of each call, in milliseconds; infinite for one that failed or was given up. */
  readonly #durations: number[] = [];
  #delivered: (() => void)[] = [];
  #isStopped = false;
  #running: Promise<void> = Promise.resolve();

  private constructor(connection: RawConnection, topic: string) {
    this.#connection = connection;
    this.#topic = topic;
  }

  static async start(address: string, topic = 'canary'): Promise<Canary> {
    const canary = new Canary(await RawConnection.connect(address), topic);
    canary.#consume();
    canary.#running = canary.#run();
    return canary;
  }

  /** How many calls there are so far: for `since`. */
  get count(): number {
    return this.#durations.length;
  }

  /** Of the calls since there were `from`, the part that was answered within `limitMs`. */
  goodPart(from: number, limitMs: number): number {
    const calls = this.#durations.slice(from);
    return calls.filter((durationMs) => durationMs <= limitMs).length / calls.length;
  }

  /** How long the given part of the calls since there were `from` took at most. */
  durationMs(from: number, part: number): number {
    const sorted = this.#durations.slice(from).sort((a, b) => a - b);
    return sorted[Math.ceil(part * sorted.length) - 1] ?? Number.POSITIVE_INFINITY;
  }

  /** Resolves when so many more calls have ended. */
  async more(count: number): Promise<void> {
    const enough = this.count + count;
    while (this.count < enough) await pause();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
    this.#connection.destroy();
  }

  #consume(): void {
    const stream = this.#connection.open(Broker.method.consume, {
      onMessage: (bytes) => {
        const { runs } = fromBinary(ConsumeResponseSchema, bytes);
        for (const { partition, firstOffset, messages } of runs) {
          const lastOffset = firstOffset + BigInt(messages.length - 1);
          stream.write(
            encode(ConsumeRequestSchema, {
              settlements: [
                { offsets: { partition, firstOffset, lastOffset }, outcome: { case: 'ack', value: {} } },
              ],
            }),
          );
          for (const delivered of this.#delivered.splice(0, messages.length)) delivered();
        }
      },
      onEnd: () => {},
    });
    stream.write(encode(ConsumeRequestSchema, { subscribe: { topic: this.#topic, subscription: 's' } }));
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      await this.#measure(() => this.#publishAndConsume());
      await this.#measure(async () => {
        await this.#connection.unary(Admin.method.getTopic, { name: this.#topic });
      });
      await pause();
    }
  }

  /** One message in, and the same one out. */
  async #publishAndConsume(): Promise<void> {
    const delivered = new Promise<void>((resolve) => this.#delivered.push(resolve));
    await new Promise<void>((resolve, reject) => {
      const stream = this.#connection.open(Broker.method.publish, {
        onMessage() {},
        onEnd: (status) => (status.code === 0 ? resolve() : reject(new Error(status.message))),
      });
      stream.write(
        encode(PublishRequestSchema, { topic: this.#topic, messages: [{ payload: Buffer.from('canary') }] }),
      );
      stream.end();
    });
    await delivered;
  }

  async #measure(call: () => Promise<void>): Promise<void> {
    const startedAtMs = systemClock.monotonicMs();
    let isAnswered = true;
    const limit = new Promise<void>((resolve) => systemClock.after(giveUpMs, resolve));
    await Promise.race([
      call().catch(() => {
        isAnswered = false;
      }),
      limit,
    ]);
    const durationMs = systemClock.monotonicMs() - startedAtMs;
    this.#durations.push(isAnswered && durationMs < giveUpMs ? durationMs : Number.POSITIVE_INFINITY);
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => systemClock.after(10, resolve));
}
