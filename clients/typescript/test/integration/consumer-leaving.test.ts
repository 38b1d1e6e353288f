import assert from 'node:assert/strict';
import { Consumer, connect } from '@sluice/client';
import { ClientBroker } from '../../../../test/support/client-broker.js';
import { publish, texts } from '../../../../test/support/producer.js';

describe('a Consumer of the TypeScript client that leaves', () => {
  const sluice = ClientBroker.use();

  async function failedAttempts(topic: string): Promise<number> {
    const { statuses } = await sluice.client.admin.getMessage({ topic, partition: 0, offset: 0n });
    return statuses[0]!.failedAttempts;
  }

  it('is charged nothing, however soon after its start it is closed', async () => {
    await sluice.createTopic('quick');
    await publish(sluice.client, 'quick', ['never handled']);
    let handledCount = 0;
    const client = connect(sluice.broker.address);
    await client.admin.getServerInfo({});
    // From before the stream is there until a message is handled.
    for (let turns = 0; handledCount === 0; turns++) {
      const consumer = client.consumer({ topic: 'quick', subscription: 's' });
      const running = consumer.run(() => {
        handledCount++;
      });
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
      await consumer.close();
      await running;
      assert.equal(await failedAttempts('quick'), 0, `closed after ${turns} turns of the event loop`);
    }
    client.close();
  });

  it('half-closes before the broker has opened its session, and waits for the end', async () => {
    await sluice.createTopic('early');
    await publish(sluice.client, 'early', texts('m', 20));
    process.kill(sluice.broker.pid, 'SIGSTOP');
    const client = connect(sluice.broker.address);
    const consumer = new Consumer(client, { topic: 'early', subscription: 's' });
    let handledCount = 0;
    const running = consumer.run(() => {
      handledCount++;
    });
    const closing = consumer.close();
    assert.equal(consumer.sessionId, undefined);
    process.kill(sluice.broker.pid, 'SIGCONT');
    await closing;
    await running;
    client.close();
    assert.equal(handledCount, 0);
    const request = { topic: 'early', subscription: 's' };
    const { consumers } = await sluice.client.admin.listConsumers(request);
    assert.deepEqual(consumers, [], 'the broker has seen it leave');
    assert.equal(await failedAttempts('early'), 0);
  });

  it('does not settle with a late answer what was delivered to it again', async () => {
    await sluice.createTopic('late', { ackDeadlineMs: 300 });
    await publish(sluice.client, 'late', ['m']);
    const options = { topic: 'late', subscription: 's', extendLeases: false, ackIntervalMs: 60_000 };
    const consumer = sluice.client.consumer(options);
    const iterator = consumer[Symbol.asyncIterator]();
    const first = (await iterator.next()).value!;
    // It waits to be sent while the lease lapses.
    const acknowledged = first.ack();
    const second = (await iterator.next()).value!;
    assert.deepEqual([first.attempt, second.attempt], [1, 2]);
    assert.equal(await acknowledged, false);
    assert.equal(await sluice.backlogOf('late'), 1);
    assert.equal(await first.ack(), false);
    const settled = second.nack({ delayMs: 0 });
    const third = (await iterator.next()).value!;
    assert.equal(await settled, true);
    assert.equal(third.attempt, 3);
    void third.ack();
    await consumer.close();
    assert.equal(await sluice.backlogOf('late'), 0);
  });
});
