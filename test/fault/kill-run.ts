import { fromBinary } from '@bufbuild/protobuf';
import { systemClock, type Timer } from '../../src/base/clock.js';
import { createRandom, type Random } from '../../src/base/random.js';
import { StatusCode } from '../../src/base/reasons.js';
import { minuteMs } from '../../src/base/units.js';
import { Admin, Ordering } from '../../src/gen/sluice/v1/admin_pb.js';
import { Broker, ReadRequestSchema, ReadResponseSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import type { BrokerProcess } from '../support/broker-process.js';
import { encode, RawConnection } from '../support/raw-grpc.js';
import { KillConsumer } from './kill-consumer.js';
import { KillProducer } from './kill-producer.js';
import { Ledger, type Observed, type Violation } from './ledger.js';
import { identityOf } from './payload.js';

const topic = 'kills';
const subscription = 'readers';
const partitionCount = 8;
const producerCount = 4;
const consumerCount = 3;
/** A life of the broker ends after at most so many events of one kind, … */
const longestLifeEvents = 300;
/** … and then at any moment within this, so that kills fall between the events too. */
const longestDelayMs = 5;
/** How often a broker is killed again before it serves, and within which time after its start. */
const startKillChance = 0.15;
const startKillWithinMs = 400;
/** A step that takes longer hangs: the run fails, and says where. */
const stepLimitMs = 1 * minuteMs;

export interface KillRunOptions {
  readonly seed: number;
  readonly kills: number;
  readonly broker: BrokerProcess;
}

export interface KillReport {
  readonly kills: number;
  readonly receiptedCount: number;
  readonly settledCount: number;
  readonly storedCount: number;
  readonly violations: readonly Violation[];
}

/**
 * Kills a broker under load, over and over, and checks that it kept every promise. Ends early with what it has
 * when a promise was broken, and rejects when a step hangs.
 */
export async function runKills(options: KillRunOptions): Promise<KillReport> {
  const run = new KillRun(options);
  let stored: readonly Observed[] = [];
  try {
    await run.live();
    await run.drain();
    stored = await run.audit();
  } catch (error) {
    // A broken promise may well make the clients stop; without one, a hang is the fault itself.
    if (run.ledger.violations.length === 0) throw error;
  }
  return {
    kills: run.killCount,
    receiptedCount: run.ledger.receiptedCount,
    settledCount: run.ledger.settledCount,
    storedCount: stored.length,
    violations: run.ledger.violations,
  };
}

const events = ['receipt', 'delivery', 'settlement'] as const;
type Event = (typeof events)[number];

class KillRun {
  readonly ledger: Ledger;
  killCount = 0;
  /** Rejects with the first broken promise: what follows from it is of no interest. */
  readonly #broken: Promise<never>;
  readonly #kills: number;
  readonly #broker: BrokerProcess;
  readonly #random: Random;
  readonly #producers: readonly KillProducer[];
  readonly #consumers: readonly KillConsumer[];
  /** What is waited for: so many more events of one kind. */
  #awaited: { event: Event; count: number; reached: () => void } | undefined;

  constructor({ seed, kills, broker }: KillRunOptions) {
    this.#kills = kills;
    this.#broker = broker;
    const random = createRandom(seed);
    this.#random = random;
    let breakOff: (error: Error) => void = () => {};
    this.#broken = new Promise((_, reject) => {
      breakOff = reject;
    });
    // Heard by the step that is under way.
    this.#broken.catch(() => {});
    const ledger = new Ledger(({ text }) => breakOff(new Error(text)));
    this.ledger = ledger;
    const ownRandom = () => createRandom(Math.floor(random.next() * 2 ** 32));
    this.#producers = Array.from({ length: producerCount }, (_, i) => {
      const onReceipt = () => this.#happened('receipt');
      return new KillProducer({ topic, producerId: `p${i}`, random: ownRandom(), ledger, onReceipt });
    });
    this.#consumers = Array.from({ length: consumerCount }, () => {
      const onDelivery = () => this.#happened('delivery');
      const onSettled = () => this.#happened('settlement');
      return new KillConsumer({ topic, subscription, random: ownRandom(), ledger, onDelivery, onSettled });
    });
  }

  /** The lives of the broker, each ended by a kill. */
  async live(): Promise<void> {
    await this.#within('the first start', this.#broker.start());
    await createTopicAndSubscription(this.#broker.address);
    while (this.killCount < this.#kills) {
      const event = events[Math.floor(this.#random.next() * events.length)]!;
      const count = 1 + Math.floor(this.#random.next() * longestLifeEvents);
      const reached = this.#times(event, count);
      await this.#startClients();
      await this.#within(`${count} times "${event}"`, reached);
      await delay(this.#random.next() * longestDelayMs);
      await this.#kill();
      if (this.killCount < this.#kills && this.#random.next() < startKillChance) {
        await this.#killWhileStarting();
      }
      await this.#within('a restart', this.#broker.start());
    }
  }

  /** Everything gets its receipt, and everything is delivered and acknowledged. */
  async drain(): Promise<void> {
    await this.#startClients();
    await this.#within(
      'the end of publishing',
      Promise.all(this.#producers.map((producer) => producer.finish())),
    );
    for (const consumer of this.#consumers) consumer.drain();
    for (;;) {
      // Asked for before looking, so that no settlement is missed in between.
      const settled = this.#times('settlement', 1);
      const backlog = await backlogOf(this.#broker.address);
      if (backlog === 0 && this.#consumers.every((consumer) => consumer.hasAnswers)) break;
      await this.#within('the end of the backlog', settled);
    }
  }

  /** Checks that every promise holds after the next crash. Returns what is stored. */
  async audit(): Promise<readonly Observed[]> {
    await this.#kill();
    await this.#within('the last restart', this.#broker.start());
    const backlog = await backlogOf(this.#broker.address);
    if (backlog > 0)
      this.ledger.report('resettled', `${backlog} messages that were acknowledged are due again`);
    const stored = await this.#within('reading all', readAll(this.#broker.address));
    this.ledger.close(stored);
    return stored;
  }

  async #startClients(): Promise<void> {
    const { address } = this.#broker;
    for (const client of [...this.#consumers, ...this.#producers]) {
      await this.#within('the start of a client', client.start(address));
    }
  }

  async #kill(): Promise<void> {
    this.#awaited = undefined;
    await this.#broker.kill();
    this.killCount += 1;
    for (const client of [...this.#producers, ...this.#consumers]) client.stop();
  }

  /** A crash during recovery: the next start has to cope with what that left. */
  async #killWhileStarting(): Promise<void> {
    const serving = this.#broker.spawn();
    await Promise.race([delay(this.#random.next() * startKillWithinMs), serving]);
    await this.#broker.kill();
    this.killCount += 1;
    await serving.catch(() => 'it was to be killed');
  }

  /** Rejects when a step hangs, or a promise was broken. */
  async #within<T>(step: string, work: Promise<T>): Promise<T> {
    let limit: Timer | undefined;
    const hangs = new Promise<never>((_, reject) => {
      limit = systemClock.after(stepLimitMs, () => reject(new Error(`${step}: not in ${stepLimitMs} ms`)));
    });
    try {
      return await Promise.race([work, hangs, this.#broken]);
    } finally {
      limit?.cancel();
    }
  }

  #times(event: Event, count: number): Promise<void> {
    return new Promise((reached) => {
      this.#awaited = { event, count, reached };
    });
  }

  #happened(event: Event): void {
    const awaited = this.#awaited;
    if (awaited === undefined || awaited.event !== event) return;
    awaited.count -= 1;
    if (awaited.count === 0) awaited.reached();
  }
}

async function createTopicAndSubscription(address: string): Promise<void> {
  const connection = await RawConnection.connect(address);
  await connection.unary(Admin.method.createTopic, { topic: { name: topic, partitionCount } });
  // Leases outlast the run, so whatever is delivered again was freed by a kill.
  await connection.unary(Admin.method.createSubscription, {
    subscription: {
      topic,
      name: subscription,
      ordering: Ordering.PARTITION,
      ackDeadline: { seconds: 3_600n },
    },
  });
  await connection.close();
}

async function backlogOf(address: string): Promise<number> {
  const connection = await RawConnection.connect(address);
  const answer = await connection.unary(Admin.method.getSubscription, { topic, name: subscription });
  await connection.close();
  const partitions = answer.subscription?.partitions ?? [];
  if (partitions.length !== partitionCount) throw new Error(`statistics of ${partitions.length} partitions`);
  return partitions.reduce((sum, partition) => sum + Number(partition.backlogMessageCount), 0);
}

/** Everything that is stored, partition by partition. */
async function readAll(address: string): Promise<readonly Observed[]> {
  const connection = await RawConnection.connect(address);
  const stored: Observed[] = [];
  for (let partition = 0; partition < partitionCount; partition += 1) {
    await new Promise<void>((resolve, reject) => {
      const stream = connection.open(Broker.method.read, {
        onMessage: (message) => {
          for (const run of fromBinary(ReadResponseSchema, message).runs) {
            for (const [i, entry] of run.messages.entries()) {
              const offset = Number(run.firstOffset) + i;
              stored.push({ partition: run.partition, offset, identity: identityOf(entry) });
            }
          }
        },
        onEnd: (status) => {
          if (status.code === StatusCode.OK) resolve();
          else reject(new Error(`reading partition ${partition}: ${status.code} ${status.message}`));
        },
      });
      stream.write(encode(ReadRequestSchema, { topic, partition }));
      stream.end();
    });
  }
  await connection.close();
  return stored;
}

function delay(delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    systemClock.after(delayMs, resolve);
  });
}
