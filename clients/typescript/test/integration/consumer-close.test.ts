import assert from 'node:assert/strict';
import { ClientBroker } from '../../../../test/support/client-broker.js';
import { publish, texts } from '../../../../test/support/producer.js';
import { until } from '../../../../test/support/until.js';

describe('closing a Consumer of the TypeScript client', () => {
  const sluice = ClientBroker.use();

  /** What another consumer finds: the text and the attempt of each message. */
  async function leftIn(topic: string, count: number): Promise<string[]> {
    const found: string[] = [];
    const consumer = sluice.client.consumer({ topic, subscription: 's' });
    await Promise.all([
      consumer.run(({ payload, attempt }) => {
        found.push(`${payload} ${attempt}`);
        if (found.length === count) void consumer.close();
      }),
    ]);
    return found;
  }

  it('lets the handlers finish, makes what they did durable, and gives back the rest unharmed', async () => {
    await sluice.createTopic('draining');
    await publish(sluice.client, 'draining', texts('m', 5));
    let open: () => void = () => {};
    let handledCount = 0;
    const consumer = sluice.client.consumer({ topic: 'draining', subscription: 's' });
    const running = consumer.run(async ({ signal }) => {
      await new Promise<void>((resolve) => (open = resolve));
      assert.equal(signal.aborted, false);
      handledCount++;
    });
    await until(() => open.length === 1);
    let isClosed = false;
    const closing = consumer.close().then(() => {
      isClosed = true;
    });
    // Credit is gone: it takes no more.
    const request = { topic: 'draining', subscription: 's' };
    const credit = async () => {
      const { consumers } = await sluice.client.admin.listConsumers(request);
      return consumers[0]?.flowControl?.maxOutstandingMessages;
    };
    while ((await credit()) !== 0);
    assert.equal(isClosed, false);
    open();
    await closing;
    await running;
    assert.equal(handledCount, 1);
    assert.equal(await sluice.backlogOf('draining'), 4);
    const { consumers } = await sluice.client.admin.listConsumers(request);
    assert.deepEqual(consumers, [], 'it has left');
    assert.deepEqual(await leftIn('draining', 4), ['m-1 1', 'm-2 1', 'm-3 1', 'm-4 1']);
  });

  it('waits no longer than it should, and tells the handler', async () => {
    await sluice.createTopic('stuck');
    await publish(sluice.client, 'stuck', ['m']);
    // Within the same time the broker has to answer that the consumer leaves, or its stream is broken off.
    const consumer = sluice.client.consumer({ topic: 'stuck', subscription: 's', drainTimeoutMs: 2_000 });
    let signal: AbortSignal | undefined;
    const running = consumer.run((delivery) => {
      signal = delivery.signal;
      return new Promise(() => {});
    });
    await until(() => signal !== undefined);
    await consumer.close();
    await running;
    assert.equal(signal?.aborted, true);
    assert.deepEqual(await leftIn('stuck', 1), ['m 1'], 'it has not failed');
  });

  it('is what the signal of run brings about', async () => {
    await sluice.createTopic('signalled');
    const controller = new AbortController();
    const consumer = sluice.client.consumer({ topic: 'signalled', subscription: 's' });
    const running = consumer.run(() => controller.abort(), { signal: controller.signal });
    await publish(sluice.client, 'signalled', ['m']);
    await running;
    assert.equal(await sluice.backlogOf('signalled'), 0);
    await consumer.close();
  });

  it('waits until what was iterated is settled, and ends the loop', async () => {
    await sluice.createTopic('iterating');
    await publish(sluice.client, 'iterating', texts('m', 3));
    const consumer = sluice.client.consumer({ topic: 'iterating', subscription: 's' });
    const seen: string[] = [];
    let closing: Promise<void> | undefined;
    for await (const delivery of consumer) {
      seen.push(delivery.payload.toString());
      closing ??= consumer.close();
      assert.equal(await delivery.ack(), true);
    }
    await closing;
    assert.deepEqual(seen, ['m-0']);
    assert.equal(await sluice.backlogOf('iterating'), 2);
  });

  it('works without a broker, and before it began', async () => {
    const consumer = sluice.client.consumer({ topic: 'idle', subscription: 's' });
    await consumer.close();
    await sluice.createTopic('away');
    await publish(sluice.client, 'away', ['m']);
    let open: (() => void) | undefined;
    const other = sluice.client.consumer({ topic: 'away', subscription: 's' });
    const running = other.run(() => new Promise<void>((resolve) => (open = resolve)));
    await until(() => open !== undefined);
    await sluice.broker.kill();
    await until(() => other.sessionId === undefined);
    const closing = other.close();
    open?.();
    await closing;
    await running;
    await sluice.broker.start();
    assert.match((await leftIn('away', 1)).join(), /^m [12]$/);
  });
});
