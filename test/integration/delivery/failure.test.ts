import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { MessageStatus_State as State } from '@sluice/client/api';
import { useBroker } from '../../support/broker-process.js';
import { ack, deadLetter, extend, nack, TestConsumer, toDuration } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';

describe('failure', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  /** A topic with one subscription `s`; times in milliseconds. */
  async function createSubscription(
    topic: string,
    options: { ackDeadlineMs?: number; backoffMs?: number; maxAttempts?: number; isDisabled?: boolean } = {},
  ): Promise<void> {
    const { ackDeadlineMs = 30_000, backoffMs = 1, maxAttempts = 0, isDisabled = false } = options;
    await client.admin.createSubscription({
      subscription: {
        topic,
        name: 's',
        ackDeadline: toDuration(ackDeadlineMs),
        retry: { minBackoff: toDuration(backoffMs), maxBackoff: toDuration(backoffMs) },
        deadLetter: { maxAttempts, disabled: isDisabled },
      },
    });
  }

  async function stateOf(topic: string, offset: bigint) {
    const { statuses } = await client.admin.getMessage({ topic, partition: 0, offset });
    return statuses.find(({ subscription }) => subscription === 's');
  }

  it('delivers again when a lease ends, and charges only the first message', async () => {
    await createSubscription('expiring');
    await publish(client, 'expiring', texts('m', 3));
    const consumer = await TestConsumer.open(client, { topic: 'expiring', subscription: 's' });
    const first = await consumer.take(3);
    // A machine with busy cores keeps the other leases, and those of the redelivery.
    await consumer.settle([first[0]!], extend(1));
    const again = await consumer.take(3);
    assert.deepEqual(
      again.map(({ text, attempt }) => [text, attempt]),
      [
        ['m-0', 2],
        ['m-1', 1],
        ['m-2', 1],
      ],
    );
    assert.deepEqual(
      first.map(({ offset }) => offset),
      again.map(({ offset }) => offset),
    );
    consumer.close();
  });

  it('lets a consumer extend a lease, and says so in the status', async () => {
    // Short enough to wait for its end, and so long that a machine with busy cores extends it in time.
    const ackDeadlineMs = 3_000;
    await createSubscription('extended', { ackDeadlineMs });
    await publish(client, 'extended', ['long', 'work']);
    const consumer = await TestConsumer.open(client, {
      topic: 'extended',
      subscription: 's',
      maxMessages: 1,
    });
    const [long] = await consumer.take(1);
    await consumer.settle([long!], extend(60_000));
    // The lease of a second consumer's message in another topic ends meanwhile: more than the deadline has passed.
    await createSubscription('meanwhile', { ackDeadlineMs });
    await publish(client, 'meanwhile', ['m']);
    const other = await TestConsumer.open(client, { topic: 'meanwhile', subscription: 's' });
    await other.take(2);
    assert.equal((await stateOf('extended', 0n))?.state, State.PROCESSING);
    const { settledCount } = await consumer.settle([long!], ack);
    assert.equal(settledCount, 1n);
    assert.equal((await stateOf('extended', 0n))?.state, State.DONE);
    consumer.close();
    other.close();
  });

  it('delivers a message that failed again and again, each time with one attempt more', async () => {
    await createSubscription('attempts');
    await publish(client, 'attempts', ['m']);
    const consumer = await TestConsumer.open(client, { topic: 'attempts', subscription: 's' });
    for (let attempt = 1; attempt <= 5; attempt++) {
      const [message] = await consumer.take(1);
      assert.equal(message?.attempt, attempt);
      await consumer.settle([message!], nack());
    }
    const status = await stateOf('attempts', 0n);
    assert.equal(status?.failedAttempts, 5);
    consumer.close();
  });

  it('keeps attempts over a kill of the broker', async () => {
    await createSubscription('durable', { backoffMs: 60_000 });
    await publish(client, 'durable', ['m']);
    const before = await TestConsumer.open(client, { topic: 'durable', subscription: 's' });
    const [message] = await before.take(1);
    await before.settle([message!], nack());
    await broker.kill();
    await broker.restart();
    client.close();
    client = connect(broker.address);
    const after = await TestConsumer.open(client, { topic: 'durable', subscription: 's' });
    const [again] = await after.take(1);
    assert.equal(again?.attempt, 2);
    after.close();
  });

  it('moves a message to the dead-letter topic after so many attempts, with what happened to it', async () => {
    await createSubscription('poisoned', { maxAttempts: 2 });
    await publish(client, 'poisoned', [{ text: 'bad', key: 'k', headers: { own: 'yes' } }, 'good']);
    const consumer = await TestConsumer.open(client, { topic: 'poisoned', subscription: 's' });
    const [first] = await consumer.take(2);
    await consumer.settle([first!], nack(0));
    const [bad, good] = await consumer.take(2);
    assert.deepEqual([bad?.text, bad?.attempt, good?.text, good?.attempt], ['bad', 2, 'good', 1]);
    await consumer.settle([bad!], nack(0));
    // The message behind it is not taken back: nothing comes before it any more.
    const { settledCount } = await consumer.settle([good!], ack);
    assert.equal(settledCount, 1n);
    const dead = await TestConsumer.open(client, { topic: 'poisoned.s.dead-letter', subscription: 'look' });
    const [message] = await dead.take(1);
    assert.equal(message?.text, 'bad');
    assert.equal(message.key, 'k');
    const {
      'sluice-dead-letter-time': time,
      'sluice-dead-letter-reason': reason,
      ...headers
    } = message.headers;
    assert.deepEqual(headers, {
      own: 'yes',
      'sluice-dead-letter-topic': 'poisoned',
      'sluice-dead-letter-partition': '0',
      'sluice-dead-letter-offset': '0',
      'sluice-dead-letter-subscription': 's',
      'sluice-dead-letter-attempts': '2',
    });
    assert.ok(!Number.isNaN(Date.parse(time!)));
    assert.ok(reason!.length > 0);
    assert.equal((await stateOf('poisoned', 0n))?.state, State.FAILED);
    const { subscription } = await client.admin.getSubscription({ topic: 'poisoned', name: 's' });
    assert.equal(subscription?.partitions[0]?.deadLetterCount, 1n);
    consumer.close();
    dead.close();
  });

  it('dead-letters at the consumer’s word, with its reason, and answers when that is durable', async () => {
    await createSubscription('hopeless');
    await publish(client, 'hopeless', texts('m', 3));
    const consumer = await TestConsumer.open(client, { topic: 'hopeless', subscription: 's' });
    const messages = await consumer.take(3);
    const { settledCount } = await consumer.settle([messages[1]!], deadLetter('no such order'));
    assert.equal(settledCount, 1n);
    const { topic } = await client.admin.getTopic({ name: 'hopeless.s.dead-letter' });
    assert.equal(topic?.partitions[0]?.nextOffset, 1n);
    await broker.kill();
    await broker.restart();
    client.close();
    client = connect(broker.address);
    const after = await TestConsumer.open(client, { topic: 'hopeless', subscription: 's' });
    assert.deepEqual(await after.takeTexts(2), ['m-0', 'm-2']);
    const dead = await TestConsumer.open(client, { topic: 'hopeless.s.dead-letter', subscription: 'look' });
    const [message] = await dead.take(1);
    assert.equal(message?.headers['sluice-dead-letter-reason'], 'no such order');
    assert.equal((await stateOf('hopeless', 1n))?.state, State.FAILED);
    after.close();
    dead.close();
  });

  it('dead-letters after a restart what had failed too often before, without a consumer', async () => {
    await client.admin.createTopic({ topic: { name: 'due', retention: { untilAcknowledged: true } } });
    await createSubscription('due', { isDisabled: true });
    await publish(client, 'due', ['bad']);
    const consumer = await TestConsumer.open(client, { topic: 'due', subscription: 's' });
    await consumer.settle(await consumer.take(1), nack(0));
    await consumer.settle(await consumer.take(1), nack(3_600_000));
    // The broker ends before another failure could dead-letter the message.
    await client.admin.updateSubscription({
      subscription: { topic: 'due', name: 's', deadLetter: { maxAttempts: 2 } },
      updateMask: { paths: ['dead_letter'] },
    });
    await broker.restart();
    client.close();
    client = connect(broker.address);
    const dead = await TestConsumer.open(client, { topic: 'due.s.dead-letter', subscription: 'look' });
    assert.deepEqual(await dead.takeTexts(1), ['bad']);
    dead.close();
    consumer.close();
    assert.equal((await stateOf('due', 0n))?.state, State.FAILED);
    // Retention no longer keeps the message for the subscription.
    for (let firstOffset = 0n; firstOffset !== 1n; ) {
      const { topic } = await client.admin.getTopic({ name: 'due' });
      firstOffset = topic!.partitions[0]!.firstOffset;
    }
  });

  it('dead-letters ten thousand messages that are given up at once, in order', async () => {
    const count = 10_000;
    await createSubscription('failing-together');
    for (let i = 0; i < count; i += 1_000) await publish(client, 'failing-together', texts(`m-${i}`, 1_000));
    const open = { topic: 'failing-together', subscription: 's', maxMessages: count };
    const consumer = await TestConsumer.open(client, open);
    const messages = await consumer.take(count);
    const { settledCount } = await consumer.settleRanges(
      [{ partition: 0, first: 0, last: count - 1 }],
      deadLetter('all of them'),
    );
    assert.equal(settledCount, BigInt(count));
    consumer.close();
    const deadLetters = await TestConsumer.open(client, { ...open, topic: 'failing-together.s.dead-letter' });
    assert.deepEqual(
      (await deadLetters.take(count)).map(({ text }) => text),
      messages.map(({ text }) => text),
    );
    deadLetters.close();
  });

  it('retries for ever where dead letters are disabled', async () => {
    await createSubscription('stubborn', { maxAttempts: 2, isDisabled: true });
    await publish(client, 'stubborn', ['m']);
    const consumer = await TestConsumer.open(client, { topic: 'stubborn', subscription: 's' });
    for (let attempt = 1; attempt <= 6; attempt++) {
      const [message] = await consumer.take(1);
      assert.equal(message?.attempt, attempt);
      await consumer.settle([message!], nack(0));
    }
    consumer.close();
  });
});
