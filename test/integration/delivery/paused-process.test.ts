import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { Ordering } from '@sluice/client/api';
import { KiB, minuteMs } from '../../../src/base/units.js';
import { useBroker } from '../../support/broker-process.js';
import { type RunningCommand, startSluice } from '../../support/command.js';
import { toDuration } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';
import { RawConnection } from '../../support/raw-grpc.js';
import { StalledConsumer } from '../../support/stalled-consumer.js';
import { until } from '../../support/until.js';

const partitionCount = 3;
const subscription = 's';

/** The first word of each message that the process has printed. */
class Printer {
  readonly printed = new Set<string>();
  readonly #command: RunningCommand;

  constructor(address: string, topic: string) {
    const args = [
      'subscribe',
      topic,
      subscription,
      '--server',
      address,
      '--quiet',
      '--max-outstanding',
      '20',
    ];
    this.#command = startSluice(args, (line) => this.printed.add(line.split(' ', 1)[0]!));
  }

  pause(): void {
    this.#command.child.kill('SIGSTOP');
  }

  resume(): void {
    this.#command.child.kill('SIGCONT');
  }

  async stop(): Promise<void> {
    this.resume();
    this.#command.child.kill('SIGKILL');
    await this.#command.finished;
  }
}

describe('a consumer whose process is stopped', function () {
  this.timeout(3 * minuteMs);
  this.slow(minuteMs);
  const broker = useBroker();
  let client: SluiceClient;
  let printers: Printer[];
  before(() => {
    client = connect(broker.address);
  });
  beforeEach(() => {
    printers = [];
  });
  afterEach(() => Promise.all(printers.map((printer) => printer.stop())));
  after(() => client.close());

  async function create(topic: string, ordering: Ordering): Promise<void> {
    await client.admin.createTopic({ topic: { name: topic, partitionCount } });
    await client.admin.createSubscription({
      subscription: {
        topic,
        name: subscription,
        ordering,
        ackDeadline: toDuration(2_000),
        retry: { minBackoff: toDuration(1), maxBackoff: toDuration(100) },
        deadLetter: { maxAttempts: 3 },
      },
    });
  }

  function start(topic: string): Printer {
    const printer = new Printer(broker.address, topic);
    printers.push(printer);
    return printer;
  }

  let publishedCount = 0;

  /** So many to each partition; returns their first words. */
  async function publishAll(topic: string, count: number, filler = ''): Promise<string[]> {
    publishedCount += 1;
    const words = texts(`m${publishedCount}`, count * partitionCount);
    for (let partition = 0; partition < partitionCount; partition += 1) {
      const part = words.slice(partition * count, (partition + 1) * count);
      await publish(
        client,
        topic,
        part.map((word) => `${word} ${filler}`),
        partition,
      );
    }
    return words;
  }

  const isPrinted = (word: string) => printers.some(({ printed }) => printed.has(word));

  /** Publishes until the process has printed something of that. */
  async function untilServed(topic: string, printer: Printer): Promise<void> {
    for (let isServed = false; !isServed; ) {
      const words = await publishAll(topic, 1);
      await until(() => words.every(isPrinted));
      isServed = words.some((word) => printer.printed.has(word));
    }
  }

  async function deadLetterCount(topic: string): Promise<number> {
    const info = await client.admin.getSubscription({ topic, name: subscription });
    return info.subscription!.partitions.reduce((sum, each) => sum + Number(each.deadLetterCount), 0);
  }

  for (const [name, ordering] of [
    ['PARTITION', Ordering.PARTITION],
    ['NONE', Ordering.NONE],
  ] as const) {
    it(`does not keep messages from the others, and is served again when it goes on, order ${name}`, async () => {
      const topic = `paused-${name}`;
      await create(topic, ordering);
      const [paused, healthy] = [start(topic), start(topic)];
      await untilServed(topic, paused);
      await untilServed(topic, healthy);
      paused.pause();
      const words = await publishAll(topic, 100);
      await until(() => words.every((word) => healthy.printed.has(word)));
      paused.resume();
      await untilServed(topic, paused);
      assert.equal(await deadLetterCount(topic), 0);
    });

    it(`nor does one beside it whose transport is full, order ${name}`, async () => {
      const topic = `full-${name}`;
      await create(topic, ordering);
      const connection = await RawConnection.connect(broker.address, { streamWindowBytes: 0 });
      const [paused, healthy] = [start(topic), start(topic)];
      await untilServed(topic, paused);
      await untilServed(topic, healthy);
      const stalled = new StalledConsumer(connection, {
        topic,
        subscription,
        maxMessages: 1_000_000,
        maxBytes: 2 ** 40,
      });
      const isOpen = async () =>
        (await client.admin.listConsumers({ topic, subscription })).consumers.length === 3;
      while (!(await isOpen()));
      paused.pause();
      const words = await publishAll(topic, 100, 'x'.repeat(4 * KiB));
      await until(() => words.every((word) => healthy.printed.has(word)));
      paused.resume();
      await untilServed(topic, paused);
      assert.equal(await deadLetterCount(topic), 0);
      stalled.cancel();
      connection.destroy();
    });
  }
});
