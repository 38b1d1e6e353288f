import assert from 'node:assert/strict';
import { Consumer, type Delivery } from '@sluice/client';
import { ClientBroker } from '../../../../test/support/client-broker.js';
import { publish, texts } from '../../../../test/support/producer.js';
import { until } from '../../../../test/support/until.js';

describe('Consumer of the TypeScript client', () => {
  const sluice = ClientBroker.use();

  it('hands a handler everything about its messages, and acknowledges what it returned of', async () => {
    await sluice.createTopic('all-about');
    const producer = await sluice.client.producer({ topic: 'all-about', producerId: 'till-4' });
    const eventTime = new Date(-1);
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    await producer.send({ key: 'anna', payload: 'two', headers: { traceparent }, eventTime });
    await producer.send({});
    await producer.close();
    const consumer = sluice.client.consumer({ topic: 'all-about', subscription: 's' });
    const found: unknown[] = [];
    const running = consumer.run((delivery) => {
      const { topic, partition, offset, attempt, producerId, key, payload, headers } = delivery;
      const times = [delivery.eventTime, delivery.eventTimestamp?.nanos];
      assert(Math.abs(delivery.publishTime.getTime() - Date.now()) < 60_000);
      found.push([topic, partition, offset, attempt, producerId, `${key}`, `${payload}`, headers, ...times]);
      if (found.length === 2) void consumer.close();
    });
    await running;
    assert.deepEqual(found, [
      ['all-about', 0, 0n, 1, 'till-4', 'anna', 'two', { traceparent }, eventTime, 999_000_000],
      ['all-about', 0, 1n, 1, 'till-4', '', '', {}, undefined, undefined],
    ]);
    assert.equal(await sluice.backlogOf('all-about'), 0);
  });

  it('says when an acknowledgement is durable, and counts what was done first', async () => {
    await sluice.createTopic('durable');
    await publish(sluice.client, 'durable', texts('m', 3));
    const consumer = sluice.client.consumer({ topic: 'durable', subscription: 's' });
    const results: Promise<boolean>[] = [];
    const running = consumer.run((delivery) => {
      results.push(delivery.ack(), delivery.ack(), delivery.nack(), delivery.extend(1_000));
    });
    await until(() => results.length === 12);
    const answers = await Promise.all(results);
    assert.deepEqual(
      answers,
      [1, 2, 3].flatMap(() => [true, false, false, false]),
    );
    assert.equal(await sluice.backlogOf('durable'), 0);
    await consumer.close();
    await running;
  });

  it('gives a failed message back with its reason, again and again, and then to the dead letters', async () => {
    await sluice.createTopic('failing', { maxAttempts: 3 });
    await publish(sluice.client, 'failing', ['bad', 'hopeless', 'good']);
    const consumer = sluice.client.consumer({ topic: 'failing', subscription: 's' });
    const seen: string[] = [];
    const running = consumer.run(async (delivery) => {
      const text = delivery.payload.toString();
      seen.push(`${text} ${delivery.attempt}`);
      if (text === 'bad') throw new Error('does not parse');
      if (text === 'hopeless') await delivery.deadLetter('no such order');
    });
    const deadLetters = sluice.client.consumer({ topic: 'failing.s.dead-letter', subscription: 's' });
    const found: string[] = [];
    const reading = deadLetters.run(({ payload, headers }) => {
      found.push(
        `${payload} ${headers['sluice-dead-letter-attempts']} ${headers['sluice-dead-letter-reason']}`,
      );
    });
    await until(() => found.length === 2 && seen.includes('good 1'));
    await Promise.all([consumer.close(), deadLetters.close()]);
    await Promise.all([running, reading]);
    assert.deepEqual(seen, ['bad 1', 'bad 2', 'bad 3', 'hopeless 1', 'good 1']);
    assert.deepEqual(found.sort(), ['bad 3 does not parse', 'hopeless 1 no such order']);
    assert.equal(await sluice.backlogOf('failing'), 0);
  });

  it('begins where it is told, and says who it is', async () => {
    await publish(sluice.client, 'starting', texts('m', 3));
    const seen: string[] = [];
    const consumer = sluice.client.consumer({
      topic: 'starting',
      subscription: 'new',
      start: { offset: 1n },
      consumerId: 'till-4',
      maxOutstandingMessages: 7,
      maxOutstandingBytes: 1_234,
    });
    const running = consumer.run(({ payload }) => {
      seen.push(payload.toString());
    });
    await until(() => seen.length === 2);
    assert.deepEqual(seen, ['m-1', 'm-2']);
    const request = { topic: 'starting', subscription: 'new' };
    const { consumers } = await sluice.client.admin.listConsumers(request);
    assert.equal(consumers[0]?.consumerId, 'till-4');
    assert.equal(consumers[0]?.sessionId, consumer.sessionId);
    assert.equal(consumers[0]?.flowControl?.maxOutstandingMessages, 7);
    assert.equal(consumers[0]?.flowControl?.maxOutstandingBytes, 1_234n);
    await consumer.close();
    await running;
  });

  it('ends with an error that no other try mends', async () => {
    const consumer = sluice.client.consumer({ topic: 'no such name!', subscription: 's' });
    await assert.rejects(
      consumer.run(() => {}),
      { reason: 'INVALID_NAME' },
    );
    await consumer.close();
    await assert.rejects(
      consumer.run(() => {}),
      { reason: 'CLOSED' },
    );

    await sluice.createTopic('deleted');
    await publish(sluice.client, 'deleted', ['m']);
    const other = sluice.client.consumer({ topic: 'deleted', subscription: 's' });
    let signal: AbortSignal | undefined;
    const running = other.run(async (delivery) => {
      signal = delivery.signal;
      await new Promise((resolve) => delivery.signal.addEventListener('abort', resolve));
    });
    const ended = assert.rejects(running, { reason: 'SUBSCRIPTION_DELETED' });
    await until(() => signal !== undefined);
    await assert.rejects(
      other.run(() => {}),
      { reason: 'RUNNING' },
    );
    await sluice.client.admin.deleteSubscription({ topic: 'deleted', name: 's' });
    await ended;
    assert.equal(signal?.aborted, true);
  });

  it('gives one who gathers before it settles as much as it asks for', async () => {
    await sluice.createTopic('gathering');
    await publish(sluice.client, 'gathering', texts('m', 300));
    const gathered: Delivery[] = [];
    const consumer = sluice.client.consumer({ topic: 'gathering', subscription: 's' });
    for await (const delivery of consumer) {
      if (gathered.push(delivery) === 300) break;
    }
    assert.equal(gathered.at(-1)?.payload.toString(), 'm-299');
  });

  it('grants as much as it can process, and less while it is slow', async () => {
    await sluice.createTopic('credit');
    const consumer = new Consumer(sluice.client, { topic: 'credit', subscription: 's' });
    assert.equal(consumer.grantedMessages, 16);
    let open: (() => void) | undefined;
    let isSlow = false;
    let sent = 0;
    let count = 0;
    const running = consumer.run(() => {
      count++;
      if (!isSlow) return undefined;
      return new Promise<void>((resolve) => {
        open = resolve;
      });
    });
    const request = { topic: 'credit', subscription: 's' };
    const granted = async () => {
      const { consumers } = await sluice.client.admin.listConsumers(request);
      return consumers[0]?.flowControl?.maxOutstandingMessages;
    };
    const producer = await sluice.client.producer({ topic: 'credit' });
    const send = async () => {
      for (let i = 0; i < 5_000; i++, sent++) void producer.send({ payload: 'm' });
      await producer.flush();
    };
    while ((await granted()) !== 10_000) await send();
    await until(() => count === sent);
    isSlow = true;
    await send();
    while ((await granted())! > 100);
    assert.equal(count, sent - 5_000 + 1, 'the handler is stuck in one message');
    isSlow = false;
    open?.();
    await until(() => count === sent);
    await producer.close();
    await consumer.close();
    await running;
  });

  it('is iterated, its deliveries settled one by one, and closed by leaving the loop', async () => {
    await sluice.createTopic('iterated');
    await publish(sluice.client, 'iterated', texts('m', 5));
    const seen: string[] = [];
    const kept: Delivery[] = [];
    for await (const delivery of sluice.client.consumer({ topic: 'iterated', subscription: 's' })) {
      seen.push(`${delivery.payload} ${delivery.attempt}`);
      kept.push(delivery);
      if (seen.length === 2) assert.equal(await delivery.nack({ delayMs: 0 }), true);
      else if (seen.length < 6) assert.equal(await delivery.ack(), true);
      else break;
    }
    assert.deepEqual(seen, ['m-0 1', 'm-1 1', 'm-1 2', 'm-2 1', 'm-3 1', 'm-4 1']);
    assert.equal(await kept.at(-1)?.ack(), false, 'the result of a message that was not settled in time');
    assert.equal(kept.at(-1)?.signal.aborted, true);
    assert.equal(await sluice.backlogOf('iterated'), 1);
    const again = sluice.client.consumer({ topic: 'iterated', subscription: 's' })[Symbol.asyncIterator]();
    const { value } = await again.next();
    assert.equal(`${value?.payload} ${value?.attempt}`, 'm-4 1', 'it has not failed');
    await again.return?.();
  });
});
