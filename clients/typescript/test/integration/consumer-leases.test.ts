import assert from 'node:assert/strict';
import type { Delivery } from '@sluice/client';
import { ClientBroker } from '../../../../test/support/client-broker.js';
import { publish, texts } from '../../../../test/support/producer.js';
import { until } from '../../../../test/support/until.js';

describe('leases, in the Consumer of the TypeScript client', () => {
  const sluice = ClientBroker.use();
  const ackDeadlineMs = 300;

  it('are extended for as long as a handler runs, and for what waits behind it', async () => {
    await sluice.createTopic('long', { ackDeadlineMs });
    await publish(sluice.client, 'long', texts('m', 3));
    const seen: string[] = [];
    let open: () => void = () => {};
    const consumer = sluice.client.consumer({ topic: 'long', subscription: 's' });
    const running = consumer.run(async ({ payload, attempt, signal }) => {
      seen.push(`${payload} ${attempt} ${signal.aborted}`);
      if (seen.length === 1) await new Promise<void>((resolve) => (open = resolve));
    });
    await until(() => seen.length === 1);
    // Another consumer would get what is free; there is no event for a lease that does not end.
    const begunAt = performance.now();
    await until(() => performance.now() - begunAt > 4 * ackDeadlineMs);
    open();
    await until(() => seen.length === 3);
    await consumer.close();
    await running;
    assert.deepEqual(seen, ['m-0 1 false', 'm-1 1 false', 'm-2 1 false']);
    assert.equal(await sluice.backlogOf('long'), 0);
  });

  it('lapse where the consumer does not extend them: the handler is told, and what it settles does nothing', async () => {
    await sluice.createTopic('lapsing', { ackDeadlineMs });
    await publish(sluice.client, 'lapsing', texts('m', 2));
    const seen: string[] = [];
    const results: unknown[] = [];
    const options = { topic: 'lapsing', subscription: 's', extendLeases: false };
    const consumer = sluice.client.consumer(options);
    const running = consumer.run(async (delivery) => {
      seen.push(`${delivery.payload} ${delivery.attempt}`);
      if (seen.length > 1) return;
      await new Promise((resolve) => delivery.signal.addEventListener('abort', resolve));
      results.push(delivery.signal.reason.reason, await delivery.ack(), await delivery.nack());
    });
    await until(() => seen.length === 3);
    await consumer.close();
    await running;
    assert.deepEqual(results, ['LEASE_LOST', false, false]);
    assert.deepEqual(seen, ['m-0 1', 'm-0 2', 'm-1 1']);
    assert.equal(await sluice.backlogOf('lapsing'), 0);
  });

  it('can be extended by hand', async () => {
    await sluice.createTopic('by-hand', { ackDeadlineMs });
    await publish(sluice.client, 'by-hand', ['m']);
    const options = { topic: 'by-hand', subscription: 's', extendLeases: false };
    const consumer = sluice.client.consumer(options);
    let delivery: Delivery | undefined;
    for await (const each of consumer) {
      delivery = each;
      assert.equal(await each.extend(60_000), true);
      await assert.rejects(each.extend(0), { reason: 'INVALID_FIELD' });
      await assert.rejects(each.nack({ delayMs: -1 }), { reason: 'INVALID_FIELD' });
      const begunAt = performance.now();
      await until(() => performance.now() - begunAt > 2 * ackDeadlineMs);
      assert.equal(await each.ack(), true);
      break;
    }
    assert.equal(delivery?.signal.aborted, false);
  });

  it('end when the subscription is moved: what was taken back is dropped, and comes again from there', async () => {
    await sluice.createTopic('moved');
    await publish(sluice.client, 'moved', texts('m', 4));
    const seen: string[] = [];
    const consumer = sluice.client.consumer({ topic: 'moved', subscription: 's' });
    const running = consumer.run(async ({ payload, signal }) => {
      seen.push(payload.toString());
      if (seen.length === 2) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    });
    await until(() => seen.length === 2);
    const position = { position: { case: 'offset', value: 3n } } as const;
    await sluice.client.admin.seekSubscription({ topic: 'moved', name: 's', position });
    await until(() => seen.length === 3);
    await consumer.close();
    await running;
    assert.deepEqual(seen, ['m-0', 'm-1', 'm-3']);
  });
});
