import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { Ordering, MessageStatus_State as State } from '@sluice/client/api';
import { useBroker } from '../../support/broker-process.js';
import {
  ack,
  type Delivered,
  extend,
  nack,
  type Outcome,
  TestConsumer,
  toDuration,
} from '../../support/consumer.js';
import { startDelayingProxy } from '../../support/delaying-proxy.js';
import { publish, texts } from '../../support/producer.js';

interface Options {
  readonly ordering?: Ordering;
  readonly ackDeadlineMs?: number;
  readonly maxAttempts?: number;
}

describe('what a failure is charged to', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  /** A topic with a subscription `s`, and messages `m-0` to `m-<count - 1>`, each with a key of its own. */
  async function createTopic(topic: string, count: number, options: Options = {}): Promise<void> {
    const { ordering = Ordering.PARTITION, ackDeadlineMs = 30_000, maxAttempts = 3 } = options;
    await client.admin.createSubscription({
      subscription: {
        topic,
        name: 's',
        ordering,
        ackDeadline: toDuration(ackDeadlineMs),
        retry: { minBackoff: toDuration(1), maxBackoff: toDuration(1) },
        deadLetter: { maxAttempts },
      },
    });
    await publish(
      client,
      topic,
      texts('m', count).map((text) => ({ text, key: text })),
    );
  }

  function open(topic: string, maxMessages = 1_000): Promise<TestConsumer> {
    return TestConsumer.open(client, { topic, subscription: 's', maxMessages });
  }

  /** A consumer with a connection of its own, that can be lost. */
  async function openApart(topic: string, maxMessages = 1_000) {
    const proxy = await startDelayingProxy(broker.address, 0);
    const own = connect(proxy.address);
    const consumer = await TestConsumer.open(own, { topic, subscription: 's', maxMessages });
    return {
      consumer,
      async loseConnection(): Promise<void> {
        proxy.close();
        await consumer.ended;
        own.close();
      },
    };
  }

  async function failedAttempts(topic: string, count: number): Promise<number[]> {
    const attempts: number[] = [];
    for (let offset = 0; offset < count; offset++) {
      const { statuses } = await client.admin.getMessage({ topic, partition: 0, offset: BigInt(offset) });
      attempts.push(statuses.find(({ subscription }) => subscription === 's')!.failedAttempts);
    }
    return attempts;
  }

  async function deadLetterReasons(topic: string, count: number): Promise<string[]> {
    const dead = await TestConsumer.open(client, { topic: `${topic}.s.dead-letter`, subscription: 'look' });
    const deadLetters = await dead.take(count);
    dead.close();
    return deadLetters.map(({ text, headers }) => `${text}: ${headers['sluice-dead-letter-reason']}`);
  }

  /** Waits until another consumer has been delivered what this one had. */
  async function delivered(topic: string, count: number): Promise<readonly Delivered[]> {
    const next = await open(topic);
    const messages = await next.take(count);
    await next.leave();
    return messages;
  }

  for (const [name, ordering] of [
    ['partition', Ordering.PARTITION],
    ['key', Ordering.KEY],
    ['none', Ordering.NONE],
  ] as const) {
    it(`is nothing when a call is cancelled that has settled nothing, order ${name}`, async () => {
      const topic = `cancelled-${name}`;
      await createTopic(topic, 2, { ordering });
      for (let i = 0; i < 5; i++) {
        const consumer = await open(topic);
        await consumer.take(2);
        consumer.close();
        await consumer.ended;
      }
      assert.deepEqual(
        (await delivered(topic, 2)).map(({ attempt }) => attempt),
        [1, 1],
      );
    });
  }

  it('is nothing when a consumer leaves', async () => {
    await createTopic('leaving', 2);
    const leaving = await open('leaving');
    await leaving.take(2);
    await leaving.leave();
    assert.deepEqual(await failedAttempts('leaving', 2), [0, 0]);
  });

  it('is nothing when a consumer leaves, and closes its connection before the stream has ended', async () => {
    await createTopic('hurrying', 2, { maxAttempts: 1 });
    const { consumer, loseConnection } = await openApart('hurrying');
    await consumer.take(2);
    const left = consumer.leave();
    // The broker has read that it leaves: it delivers nothing more.
    for (let isLeaving = false; !isLeaving; ) {
      const { consumers } = await client.admin.listConsumers({ topic: 'hurrying', subscription: 's' });
      isLeaving = consumers.every(({ flowControl }) => flowControl?.maxOutstandingMessages === 0);
    }
    await loseConnection();
    await left;
    assert.deepEqual(await failedAttempts('hurrying', 2), [0, 0]);
  });

  it('is the message in hand when a call is cancelled after it has settled something', async () => {
    await createTopic('worked', 3);
    const consumer = await open('worked');
    const [first] = await consumer.take(3);
    await consumer.settle([first!], ack);
    consumer.close();
    await consumer.ended;
    assert.deepEqual(
      (await delivered('worked', 2)).map(({ text, attempt }) => [text, attempt]),
      [
        ['m-1', 2],
        ['m-2', 1],
      ],
    );
  });

  it('is nothing when the broker ends the call', async () => {
    await createTopic('refused', 2);
    const consumer = await open('refused');
    const [first] = await consumer.take(2);
    await consumer.settle([first!], extend(60_000));
    await assert.rejects(consumer.settleRanges([{ partition: 77, first: 0, last: 0 }], ack));
    assert.deepEqual(
      (await delivered('refused', 2)).map(({ attempt }) => attempt),
      [1, 1],
    );
  });

  it('is the message in hand when the connection is lost', async () => {
    await createTopic('lost', 2, { maxAttempts: 1 });
    const { consumer, loseConnection } = await openApart('lost');
    await consumer.take(2);
    await loseConnection();
    const [reason] = await deadLetterReasons('lost', 1);
    assert.match(reason!, /^m-0: connection lost/);
    assert.deepEqual(await failedAttempts('lost', 2), [1, 0]);
  });

  for (const [name, ordering] of [
    ['key', Ordering.KEY],
    ['none', Ordering.NONE],
  ] as const) {
    it(`is only the one of eight messages at work that breaks the process, order ${name}`, async () => {
      const topic = `poison-${name}`;
      await createTopic(topic, 8, { ordering });
      const handled: string[] = [];
      let crashes = 0;
      // Works on all that it has at once; m-3 takes the process with it before anything else is done.
      const isDone = () => handled.length === 7 && crashes === 5;
      /** Whether the process is still there. */
      const work = async (consumer: TestConsumer): Promise<boolean> => {
        const messages = await consumer.take(crashes < 2 ? 8 : 1);
        if (messages.some(({ text }) => text === 'm-3')) return false;
        await consumer.settle(messages, ack);
        handled.push(...messages.map(({ text }) => text));
        return true;
      };
      while (!isDone()) {
        const { consumer, loseConnection } = await openApart(topic, 8);
        let isRunning = true;
        while (isRunning && !isDone()) isRunning = await work(consumer);
        if (!isRunning) crashes++;
        await loseConnection();
      }
      assert.deepEqual(
        handled.sort(),
        texts('m', 8).filter((text) => text !== 'm-3'),
      );
      const [reason] = await deadLetterReasons(topic, 1);
      assert.match(reason!, /^m-3: connection lost/);
      assert.equal(crashes, 5, 'twice with all of them, and three times alone');
      const { subscription } = await client.admin.getSubscription({ topic, name: 's' });
      assert.equal(subscription?.partitions[0]?.deadLetterCount, 1n);
    });
  }

  it('is one lease of a consumer that hangs: then another consumer gets the partition', async () => {
    await createTopic('hung', 5, { ackDeadlineMs: 1_000 });
    const hung = await open('hung', 1);
    await hung.take(1);
    const healthy = await open('hung');
    const messages = await healthy.take(5);
    assert.deepEqual(
      messages.map(({ text, attempt }) => [text, attempt]),
      [
        ['m-0', 2],
        ...texts('m', 5)
          .slice(1)
          .map((text) => [text, 1]),
      ],
    );
    await healthy.settle(messages, ack);
    assert.equal(hung.inbox.length, 0, 'the hung one got nothing again');
    hung.close();
    healthy.close();
  });

  for (const [name, ordering] of [
    ['key', Ordering.KEY],
    ['none', Ordering.NONE],
  ] as const) {
    it(`is one lease of a consumer that hangs, also while the healthy one is busy, order ${name}`, async () => {
      const topic = `hung-${name}`;
      await createTopic(topic, 1, { ordering, ackDeadlineMs: 750 });
      const hung = await open(topic, 1);
      await hung.take(1);
      const healthy = await open(topic, 1);
      await publish(client, topic, [{ text: 'long', key: 'long' }]);
      const [long] = await healthy.take(1);
      await healthy.settle([long!], extend(60_000));
      await hung.until(() => hung.events.some((event) => event.startsWith('revoked')));
      // Longer than a backoff and a lease: another subscription of the same broker has had two of them.
      await createTopic(`${topic}-meanwhile`, 1, { ackDeadlineMs: 750 });
      const other = await open(`${topic}-meanwhile`);
      await other.take(3);
      await healthy.settle([long!], ack);
      const [again] = await healthy.take(1);
      assert.deepEqual([again?.text, again?.attempt], ['m-0', 2]);
      for (const consumer of [hung, healthy, other]) consumer.close();
    });
  }

  it('is each message that lapses behind one that is extended, where messages have no order', async () => {
    await createTopic('extended', 2, { ordering: Ordering.NONE, ackDeadlineMs: 500 });
    const consumer = await open('extended');
    const [long, first] = await consumer.take(2);
    await consumer.settle([long!], extend(60_000));
    const lapsing = [first!, ...(await consumer.take(2))];
    assert.deepEqual(
      lapsing.map(({ text, attempt }) => [text, attempt]),
      [
        ['m-1', 1],
        ['m-1', 2],
        ['m-1', 3],
      ],
    );
    const [reason] = await deadLetterReasons('extended', 1);
    assert.match(reason!, /^m-1: lease lapsed/);
    assert.equal((await consumer.settle([long!], ack)).settledCount, 1n);
    consumer.close();
  });

  it('is told by the dead letter in the words of the last nack', async () => {
    await createTopic('nacked', 1, { maxAttempts: 2 });
    const consumer = await open('nacked');
    for (const reason of ['first', 'no such order']) {
      const messages = await consumer.take(1);
      const outcome: Outcome = { ...nack(0), value: { delay: toDuration(0), reason } } as Outcome;
      await consumer.settle(messages, outcome);
    }
    assert.deepEqual(await deadLetterReasons('nacked', 1), ['m-0: no such order']);
    const { statuses } = await client.admin.getMessage({ topic: 'nacked', partition: 0, offset: 0n });
    assert.equal(statuses[0]?.state, State.FAILED);
    consumer.close();
  });
});
