import assert from 'node:assert/strict';
import type { Delivery } from '@sluice/client';
import { Ordering } from '@sluice/client/api';
import { ClientBroker } from '../../../../test/support/client-broker.js';
import { publish, texts } from '../../../../test/support/producer.js';
import { until } from '../../../../test/support/until.js';

/** Handlers that wait to be let go, and what they were handed. */
class Stations {
  readonly seen: string[] = [];
  readonly #open = new Map<string, (outcome: 'return' | 'throw') => void>();

  readonly handler = async ({ payload, attempt }: Delivery): Promise<void> => {
    const text = `${payload} ${attempt}`;
    this.seen.push(text);
    const outcome = await new Promise((resolve) => this.#open.set(text, resolve));
    this.#open.delete(text);
    if (outcome === 'throw') throw new Error('told to');
  };

  /** Texts of the messages that are being handled. */
  get atWork(): string[] {
    return [...this.#open.keys()].sort();
  }

  async atWorkOn(...names: string[]): Promise<void> {
    await until(() => names.every((text) => this.#open.has(text)));
    assert.deepEqual(this.atWork, names.sort());
  }

  let(text: string, outcome: 'return' | 'throw' = 'return'): void {
    this.#open.get(text)!(outcome);
  }
}

describe('order, in the Consumer of the TypeScript client', () => {
  const sluice = ClientBroker.use();

  it('is that of each partition, whatever the concurrency', async () => {
    await sluice.createTopic('by-partition', { partitionCount: 2 });
    await publish(sluice.client, 'by-partition', texts('a', 2), 0);
    await publish(sluice.client, 'by-partition', texts('b', 2), 1);
    const stations = new Stations();
    const consumer = sluice.client.consumer({ topic: 'by-partition', subscription: 's', concurrency: 10 });
    const running = consumer.run(stations.handler);
    await stations.atWorkOn('a-0 1', 'b-0 1');
    stations.let('a-0 1');
    await stations.atWorkOn('a-1 1', 'b-0 1');
    stations.let('b-0 1', 'throw');
    await stations.atWorkOn('a-1 1', 'b-0 2');
    for (const text of ['a-1 1', 'b-0 2']) stations.let(text);
    await stations.atWorkOn('b-1 1');
    stations.let('b-1 1');
    await until(() => stations.atWork.length === 0);
    await consumer.close();
    await running;
  });

  it('is that of each key; messages without one are free, and the concurrency is kept', async () => {
    await sluice.createTopic('by-key', { ordering: Ordering.KEY });
    const keyed = (key: string) => [0, 1].map((i) => ({ text: `${key}-${i}`, key }));
    await publish(sluice.client, 'by-key', [...keyed('a'), ...keyed('b'), 'free-0', 'free-1', 'free-2']);
    const stations = new Stations();
    const consumer = sluice.client.consumer({ topic: 'by-key', subscription: 's', concurrency: 4 });
    const running = consumer.run(stations.handler);
    await until(() => stations.atWork.length === 4);
    assert(stations.atWork.includes('a-0 1') && stations.atWork.includes('b-0 1'), `${stations.atWork}`);
    stations.let('a-0 1', 'throw');
    await until(() => stations.seen.includes('free-2 1'));
    for (const i of [0, 1, 2]) stations.let(`free-${i} 1`);
    // Only the failed key waits.
    await stations.atWorkOn('a-0 2', 'b-0 1');
    stations.let('a-0 2');
    await stations.atWorkOn('a-1 1', 'b-0 1');
    stations.let('b-0 1');
    await stations.atWorkOn('a-1 1', 'b-1 1');
    for (const text of stations.atWork) stations.let(text);
    await consumer.close();
    await running;
    assert.equal(await sluice.backlogOf('by-key'), 0);
  });

  it('is none where the subscription has none', async () => {
    await sluice.createTopic('unordered', { ordering: Ordering.NONE });
    await publish(sluice.client, 'unordered', texts('m', 4));
    const stations = new Stations();
    const consumer = sluice.client.consumer({ topic: 'unordered', subscription: 's', concurrency: 3 });
    const running = consumer.run(stations.handler);
    await stations.atWorkOn('m-0 1', 'm-1 1', 'm-2 1');
    stations.let('m-1 1', 'throw');
    await until(() => stations.seen.length === 4);
    stations.let('m-2 1');
    await until(() => stations.seen.length === 5);
    for (const text of stations.atWork) stations.let(text);
    await consumer.close();
    await running;
    assert.deepEqual(stations.seen.slice().sort(), ['m-0 1', 'm-1 1', 'm-1 2', 'm-2 1', 'm-3 1']);
  });

  it('holds what is behind a message that waits for its next attempt', async () => {
    await sluice.createTopic('delayed');
    await publish(sluice.client, 'delayed', texts('m', 500));
    const seen: string[] = [];
    const times: number[] = [];
    const consumer = sluice.client.consumer({ topic: 'delayed', subscription: 's', concurrency: 8 });
    const running = consumer.run(async (delivery) => {
      seen.push(`${delivery.payload} ${delivery.attempt}`);
      times.push(performance.now());
      if (seen.length === 2) await delivery.nack({ delayMs: 300 });
    });
    await until(() => seen.length === 501);
    await consumer.close();
    await running;
    const [m0, m1, ...rest] = texts('m', 500);
    assert.deepEqual(
      seen,
      [m0, m1]
        .map((text) => `${text} 1`)
        .concat(
          `${m1} 2`,
          rest.map((text) => `${text} 1`),
        ),
    );
    assert(times[2]! - times[1]! >= 290, 'it came too early');
  });

  it('never has two handlers for a partition, also when the stream broke under the first', async () => {
    await sluice.createTopic('broken');
    await publish(sluice.client, 'broken', texts('m', 2));
    const stations = new Stations();
    const signals: AbortSignal[] = [];
    const consumer = sluice.client.consumer({ topic: 'broken', subscription: 's', concurrency: 8 });
    const running = consumer.run((delivery) => {
      signals.push(delivery.signal);
      return stations.handler(delivery);
    });
    await stations.atWorkOn('m-0 1');
    const before = consumer.sessionId;
    await sluice.broker.restart();
    await until(() => ![before, undefined].includes(consumer.sessionId));
    assert.equal(signals[0]!.aborted, true);
    // Everything has been delivered again once the broker says so.
    const outstanding = async () => {
      const { consumers } = await sluice.client.admin.listConsumers({ topic: 'broken', subscription: 's' });
      return Number(consumers[0]?.outstandingMessageCount ?? 0);
    };
    while ((await outstanding()) < 2);
    assert.deepEqual(stations.seen, ['m-0 1']);
    stations.let('m-0 1');
    await until(() => stations.atWork.length === 1 && stations.seen.length === 2);
    assert.match(stations.seen[1]!, /^m-0 /);
    stations.let(stations.seen[1]!);
    await until(() => stations.seen.length === 3);
    stations.let('m-1 1');
    await consumer.close();
    await running;
    assert.equal(await sluice.backlogOf('broken'), 0);
  });
});
