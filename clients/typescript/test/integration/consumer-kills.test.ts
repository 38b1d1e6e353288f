import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { Ordering } from '@sluice/client/api';
import { ClientBroker } from '../../../../test/support/client-broker.js';
import { until } from '../../../../test/support/until.js';

describe('a Consumer of the TypeScript client, and a broker that is killed again and again', () => {
  const sluice = ClientBroker.use();
  const total = 40_000;
  const keyCount = 13;

  for (const [name, ordering] of [
    ['partition', Ordering.PARTITION],
    ['key', Ordering.KEY],
  ] as const) {
    it(`handles everything, in order of the ${name}, and nothing again that was durable`, async () => {
      const topic = `kills-${name}`;
      await sluice.createTopic(topic, { partitionCount: 2, ordering });
      const producer = await sluice.client.producer({ topic });
      for (let i = 0; i < total; i++) void producer.send({ key: `key-${i % keyCount}`, payload: String(i) });
      await producer.close();

      const durable = new Set<number>();
      const handled = new Set<number>();
      const nextOfKey = new Map<number, number>();
      const busyKeys = new Set<number>();
      const problems: string[] = [];
      const options = { topic, subscription: 's', concurrency: 8, maxOutstandingMessages: 2_000 };
      const consumer = sluice.client.consumer(options);
      const begin = (i: number): void => {
        const key = i % keyCount;
        const next = nextOfKey.get(key) ?? key;
        if (durable.has(i)) problems.push(`${i} was durable and came again`);
        if (busyKeys.has(key)) problems.push(`${i}: another message of its key is being handled`);
        // Back to what was not acknowledged; never past what was not handled.
        if (i > next) problems.push(`${i}: one before it was not handled`);
        nextOfKey.set(key, Math.max(next, i + keyCount));
        busyKeys.add(key);
      };
      const running = consumer.run(async (delivery) => {
        const i = Number(delivery.payload);
        const key = i % keyCount;
        begin(i);
        if (i % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
        if (i % 1_001 === 0 && delivery.attempt === 1) {
          busyKeys.delete(key);
          nextOfKey.set(key, i);
          throw new Error('fails at first');
        }
        handled.add(i);
        busyKeys.delete(key);
        void delivery.ack().then((isDurable) => isDurable && durable.add(i));
      });
      for (let kill = 1; kill <= 3; kill++) {
        const count = (kill * total) / 5 + randomInt(total / 10);
        await until(() => durable.size >= count);
        await sluice.broker.restart();
      }
      await until(() => handled.size === total || problems.length > 0);
      // The answer to an acknowledgement may have been lost with a broker that had stored it.
      while (problems.length === 0 && (await sluice.backlogOf(topic)) > 0);
      await consumer.close();
      await running;
      assert.deepEqual(problems, []);
      assert.equal(handled.size, total);
      assert.equal(await sluice.backlogOf(topic), 0);
    });
  }
});
