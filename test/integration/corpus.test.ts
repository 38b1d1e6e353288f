import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { minuteMs } from '../../src/base/units.js';
import { Admin } from '../../src/gen/sluice/v1/admin_pb.js';
import { useBroker } from '../support/broker-process.js';
import { type RunningCommand, sluice, startSluice } from '../support/command.js';
import { RawConnection } from '../support/raw-grpc.js';

const words: readonly string[] = createRequire(import.meta.url)('an-array-of-english-words');
const topic = 'words';
const subscription = 'readers';
const partitionCount = 8;
const consumerCount = 3;

interface Received {
  readonly consumer: number;
  readonly partition: number;
  readonly offset: number;
  readonly key: string;
  readonly payload: string;
}

/** A dictionary goes through the command line: 8 partitions, keyed by first letter, three consumers. */
describe('a dictionary through the command line', () => {
  const broker = useBroker();
  const received: Received[] = [];
  const consumers: RunningCommand[] = [];
  let directory: string | undefined;

  before(async function () {
    this.timeout(2 * minuteMs);
    directory = mkdtempSync(join(tmpdir(), 'sluice-corpus-'));
    const file = join(directory, 'words.txt');
    writeFileSync(file, `${words.join('\n')}\n`);
    const server = ['--server', broker.address];
    await sluice('topic', 'create', topic, '--partitions', String(partitionCount), ...server);
    await sluice('subscription', 'create', topic, subscription, ...server);
    const all = new Promise<void>((resolve) => {
      for (let consumer = 0; consumer < consumerCount; consumer += 1) {
        const args = ['subscribe', topic, subscription, '--json', ...server];
        const onLine = (line: string) => {
          received.push({ consumer, ...(JSON.parse(line) as Omit<Received, 'consumer'>) });
          if (received.length === words.length) resolve();
        };
        consumers.push(startSluice(args, onLine));
      }
    });
    await consumersHavePartitions();
    await sluice('publish', topic, '--file', file, '--key-prefix-length', '1', ...server);
    await all;
    // An interrupted consumer first settles what it has printed.
    for (const { child } of consumers) child.kill('SIGTERM');
    for (const { finished } of consumers) {
      const { code, stderr } = await finished;
      assert.equal(code, 130, stderr);
    }
  });

  after(() => {
    for (const { child } of consumers) child.kill('SIGKILL');
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  });

  it('delivers every byte once', () => {
    assert.equal(received.length, words.length);
    const sorted = (list: readonly string[]) => [...list].sort().join('\n');
    assert.ok(
      sorted(received.map(({ payload }) => payload)) === sorted(words),
      'the words are not those that were published',
    );
    const positions = new Set(received.map(({ partition, offset }) => `${partition}@${offset}`));
    assert.equal(positions.size, words.length, 'a position was delivered twice');
  });

  it('keeps every key in one partition and in order', () => {
    for (const letter of new Set(words.map((word) => word[0]!))) {
      const ofKey = received.filter(({ key }) => key === letter);
      const partitions = new Set(ofKey.map(({ partition }) => partition));
      assert.equal(partitions.size, 1, `key ${letter} is in partitions ${[...partitions]}`);
      // As they were received: three processes, but a partition belongs to one of them.
      const expected = words.filter((word) => word.startsWith(letter));
      assert.ok(ofKey.map(({ payload }) => payload).join('\n') === expected.join('\n'), `key ${letter}`);
    }
  });

  it('shares the partitions among the consumers', () => {
    for (let consumer = 0; consumer < consumerCount; consumer += 1) {
      assert.ok(
        received.some((message) => message.consumer === consumer),
        `consumer ${consumer} got nothing`,
      );
    }
    const owners = new Set(received.map(({ consumer, partition }) => `${partition} of ${consumer}`));
    const used = new Set(received.map(({ partition }) => partition));
    assert.equal(owners.size, used.size, `a partition has changed hands: ${[...owners]}`);
  });

  it('has settled everything', async () => {
    const answer = await call((connection) =>
      connection.unary(Admin.method.getSubscription, { topic, name: subscription }),
    );
    const partitions = answer.subscription!.partitions;
    assert.deepEqual(
      partitions.map((partition) => partition.backlogMessageCount),
      Array.from({ length: partitionCount }, () => 0n),
    );
  });

  /** Each of them has its share: 3, 3 and 2 of the 8. */
  async function consumersHavePartitions(): Promise<void> {
    let shares: number[] = [];
    while (shares.join() !== '2,3,3') {
      const answer = await call((connection) =>
        connection.unary(Admin.method.listConsumers, { topic, subscription }),
      );
      shares = answer.consumers.map((consumer) => consumer.partitions.length).sort();
    }
  }

  async function call<T>(work: (connection: RawConnection) => Promise<T>): Promise<T> {
    const connection = await RawConnection.connect(broker.address);
    try {
      return await work(connection);
    } finally {
      connection.destroy();
    }
  }
});
