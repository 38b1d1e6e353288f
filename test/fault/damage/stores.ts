import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '@sluice/client';
import { Durability, Ordering } from '@sluice/client/api';
import { createRandom, type Random } from '../../../src/base/random.js';
import { BrokerProcess } from '../../support/broker-process.js';
import type { Acknowledged } from './acknowledged.js';
import { Builder, type MessageInit, short } from './builder.js';

/**
 * - `stopped`: three lives, the last one ended in good order.
 * - `killed`: three lives, the last one brief and killed right after its last receipts.
 * - `fresh`: one brief life, killed right after its last receipts: no tables, only the log.
 * - `flushed`: the same, opened once more and ended in good order: one table in each column family, and an empty log. So
 *   no start compacts, and damage of a table is met by reads only.
 */
export const variants = ['stopped', 'killed', 'fresh', 'flushed'] as const;
export type Variant = (typeof variants)[number];

/** A finished store, to be copied for each run and never opened itself. */
export interface BuiltStore {
  readonly variant: Variant;
  readonly directory: string;
  /** Whole copies of earlier moments, oldest first. */
  readonly olderCopies: readonly string[];
  readonly acknowledged: Acknowledged;
}

/** Few column families: a start is quick, and a store small. */
export const brokerArgs = ['--max-partition-count', '4', '--min-free-disk-bytes', '1MiB'];

const seed = 15;
const KiB = 1024;

export async function buildStore(variant: Variant, directory: string): Promise<BuiltStore> {
  const store = new StoreBuild(variant, directory);
  try {
    if (variant === 'fresh' || variant === 'flushed') await store.buildFresh();
    else await store.buildGrown();
    if (variant === 'flushed') await store.flush();
    return store.built;
  } finally {
    await store.dispose();
  }
}

class StoreBuild {
  readonly #variant: Variant;
  readonly #directory: string;
  readonly #broker: BrokerProcess;
  readonly #builder = new Builder();
  readonly #random: Random = createRandom(seed);
  readonly #olderCopies: string[] = [];
  #messageCount = 0;

  constructor(variant: Variant, directory: string) {
    this.#variant = variant;
    this.#directory = directory;
    this.#broker = new BrokerProcess({ dataDirectory: join(directory, 'data'), args: brokerArgs });
  }

  get built(): BuiltStore {
    return {
      variant: this.#variant,
      directory: this.#broker.dataDirectory,
      olderCopies: this.#olderCopies,
      acknowledged: this.#builder.acknowledged,
    };
  }

  async dispose(): Promise<void> {
    this.#builder.client?.close();
    await this.#broker.dispose();
  }

  async buildFresh(): Promise<void> {
    const { builder } = await this.#begin();
    await this.#firstTopics();
    await this.#work();
    this.#copy();
    await builder.redrive('work/none', 1);
    await this.#last();
    await this.#broker.kill();
  }

  /** Opening writes what the log holds into tables. */
  async flush(): Promise<void> {
    await this.#begin();
    await this.#end('stop');
  }

  async buildGrown(): Promise<void> {
    const { builder } = await this.#begin();
    await this.#firstTopics();
    await this.#work();
    await this.#queue();
    await builder.createTopic({ name: 'doomed' });
    await builder.publish('doomed', this.#messages(20, 50));
    await builder.createTopic({ name: 'gone', partitionCount: 2 });
    await builder.createSubscription({ topic: 'gone', name: 's' });
    await builder.publish('gone', this.#messages(30, 80), { partition: 1 });
    await builder.acknowledge('gone/s', 30);
    await this.#end('stop');
    this.#copy();

    await this.#begin();
    await builder.deleteTopic('doomed');
    await builder.deleteTopic('gone');
    await builder.createTopic({ name: 'gone' });
    await builder.createSubscription({ topic: 'gone', name: 's' });
    await builder.publish('gone', this.#messages(10, 80));
    await builder.deleteSubscription('orders', 'temporary');
    await builder.createSubscription({ topic: 'orders', name: 'temporary' });
    await builder.redrive('work/none', 2);
    await builder.growTopic('written', 3);
    await builder.publish('written', this.#messages(20, 60), { partition: 2 });
    const producer = await builder.openProducer('orders', 'p1');
    await builder.publish('orders', this.#messages(40, 400), { partition: 1, producer });
    for (const kilobytes of [1, 30, 300, 7]) await this.#mixed(kilobytes);
    await this.#end('kill');
    this.#copy();

    await this.#begin();
    // So that the note of what is synced has been written once by a timer, too, before the last receipts.
    if (this.#variant === 'stopped') await this.#queueAgain();
    await builder.publish('orders', this.#messages(60, 200));
    await builder.acknowledge('written/all', 60, ({ partition }) => partition === 2);
    for (const kilobytes of [90, 2, 500]) await this.#mixed(kilobytes);
    this.#copy();
    await builder.redrive('work/none', 1);
    await this.#last();
    await this.#end(this.#variant === 'stopped' ? 'stop' : 'kill');
  }

  /** Topics of all kinds, with messages of all sizes. */
  async #firstTopics(): Promise<void> {
    const builder = this.#builder;
    await builder.createTopic({ name: 'orders', partitionCount: 4 });
    await builder.createSubscription({ topic: 'orders', name: 'temporary' });
    await builder.publish('orders', this.#messages(200, 120));
    for (const id of ['p1', 'p2']) {
      const producer = await builder.openProducer('orders', id);
      for (let batch = 0; batch < 5; batch++) {
        await builder.publish('orders', this.#messages(8, 300), { partition: batch % 4, producer });
      }
    }
    await builder.createTopic({ name: 'written', partitionCount: 2, durability: Durability.WRITTEN });
    await builder.createSubscription({ topic: 'written', name: 'all' });
    await builder.createSubscription({ topic: 'written', name: 'seeker' });
    for (const partition of [0, 1]) {
      await builder.publish('written', this.#messages(50, 60), { partition });
    }
    await builder.acknowledge('written/all', 100, ({ offset }) => offset < 30);
    await builder.acknowledge('written/seeker', 100);
    await builder.seek('written/seeker', 0, 45);
    await builder.createTopic({ name: 'mixed', durability: Durability.SYNCED });
    await builder.createSubscription({ topic: 'mixed', name: 'slow' });
    for (const kilobytes of [0, 1, 20, 300, 5, 60, 900, 2, 16, 100, 12, 40]) await this.#mixed(kilobytes);
    await builder.acknowledge('mixed/slow', 4);
    await builder.createTopic({ name: 'empty' });
  }

  /** Subscriptions of each ordering, with holes, failed attempts and dead letters. */
  async #work(): Promise<void> {
    const builder = this.#builder;
    await builder.createTopic({ name: 'work', partitionCount: 2 });
    const retry = { minBackoff: short, maxBackoff: short };
    const deadLetter = { maxAttempts: 5 };
    for (const [name, ordering] of [
      ['partition', Ordering.PARTITION],
      ['key', Ordering.KEY],
      ['none', Ordering.NONE],
    ] as const) {
      await builder.createSubscription({ topic: 'work', name, ordering, retry, deadLetter });
    }
    for (const partition of [0, 1]) {
      const messages = this.#messages(40, 90).map((message, index) => ({
        ...message,
        key: Buffer.from(`key-${partition}-${index % 7}`),
      }));
      await builder.publish('work', messages, { partition });
    }
    await builder.acknowledge('work/partition', 80, ({ offset }) => offset < 15);
    await builder.acknowledge('work/key', 80, ({ key }) => /-[135]$/.test(key));
    await builder.acknowledge('work/none', 80, ({ offset }) => offset % 3 === 0);
    await builder.fail('work/none', 52, ({ offset }) => offset % 10 === 4);
    await builder.fail('work/none', 52, ({ offset }) => offset % 20 === 4);
    await builder.deadLetter('work/none', 52, ({ offset }) => offset % 8 === 5);
  }

  /** A queue whose beginning retention removes. */
  async #queue(): Promise<void> {
    const builder = this.#builder;
    await builder.createTopic({ name: 'queue', retention: { untilAcknowledged: true } });
    await builder.createSubscription({ topic: 'queue', name: 'q' });
    for (let batch = 0; batch < 6; batch++) await builder.publish('queue', this.#messages(10, 500));
    await this.#queueAgain();
  }

  async #queueAgain(): Promise<void> {
    const builder = this.#builder;
    const { settled } = builder.acknowledged.subscriptions.get('queue/q')!.standings[0]!;
    await builder.acknowledge('queue/q', 60 - settled.size, ({ offset }) => offset < settled.size + 20);
    await builder.untilRemoved('queue', 0, settled.size);
  }

  /** The last receipts of a store: of each kind of change. */
  async #last(): Promise<void> {
    const builder = this.#builder;
    await builder.createTopic({ name: 'late' });
    await builder.createSubscription({ topic: 'late', name: 's' });
    await builder.publish('late', this.#messages(12, 100));
    await builder.acknowledge('late/s', 12, ({ offset }) => offset % 2 === 0);
    const producer = await builder.openProducer('orders', 'p3');
    await builder.publish('orders', this.#messages(5, 100), { partition: 3, producer });
    await builder.publish('written', this.#messages(5, 100), { partition: 0 });
    await builder.acknowledge('work/key', 46, ({ key }) => /-[0]$/.test(key));
    await this.#mixed(3);
    await builder.acknowledge('mixed/slow', 2);
  }

  async #mixed(kilobytes: number): Promise<void> {
    const [message] = this.#messages(1, kilobytes * KiB);
    await this.#builder.publish('mixed', [message!]);
  }

  /** Different from all others, with bytes that do not compress. */
  #messages(count: number, byteLength: number): MessageInit[] {
    return Array.from({ length: count }, () => {
      const number = this.#messageCount++;
      const payload = Buffer.alloc(byteLength);
      for (let at = 0; at < byteLength; at++) payload[at] = Math.floor(this.#random.next() * 256);
      payload.write(`${number}:`.slice(0, byteLength));
      return {
        key: Buffer.from(`key-${number % 23}`),
        payload,
        headers: number % 5 === 0 ? { number: `${number}`, kind: 'test' } : {},
      };
    });
  }

  async #begin(): Promise<{ builder: Builder }> {
    await this.#broker.start();
    this.#builder.client = connect(this.#broker.address);
    return { builder: this.#builder };
  }

  async #end(how: 'stop' | 'kill'): Promise<void> {
    if (how === 'kill') await this.#broker.kill();
    this.#builder.client.close();
    if (how === 'stop') await this.#broker.stop();
  }

  #copy(): void {
    const copy = join(this.#directory, `older-${this.#olderCopies.length}`);
    mkdirSync(copy);
    cpSync(this.#broker.dataDirectory, copy, { recursive: true });
    this.#olderCopies.push(copy);
  }
}
