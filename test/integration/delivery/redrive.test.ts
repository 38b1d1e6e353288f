import assert from 'node:assert/strict';
import { connect, type SluiceClient, SluiceError } from '@sluice/client';
import { MessageStatus_State as State } from '@sluice/client/api';
import { useBroker } from '../../support/broker-process.js';
import { ack, deadLetter, deliveredOf, nack, TestConsumer, toDuration } from '../../support/consumer.js';
import { type Outgoing, publish, texts } from '../../support/producer.js';

interface Counts {
  readonly redriven: number;
  readonly remaining: number;
}

interface RedriveOptions {
  readonly dryRun?: boolean;
  readonly limit?: bigint;
  readonly rate?: number;
}

describe('redrive', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  async function createSubscription(topic: string, name: string, deadLetterTopic = ''): Promise<void> {
    await client.admin.createSubscription({
      subscription: {
        topic,
        name,
        retry: { minBackoff: toDuration(1), maxBackoff: toDuration(1) },
        deadLetter: { maxAttempts: 2, topic: deadLetterTopic },
      },
    });
  }

  function open(topic: string, subscription: string): Promise<TestConsumer> {
    return TestConsumer.open(client, { topic, subscription, maxMessages: 100_000 });
  }

  /** Messages that the subscription gives up, all of them. */
  async function giveUp(
    topic: string,
    subscription: string,
    messages: readonly (Outgoing | string)[],
  ): Promise<void> {
    const consumer = await open(topic, subscription);
    await publish(client, topic, messages);
    const taken = await consumer.take(messages.length);
    await consumer.settle(taken, deadLetter('broken'));
    consumer.close();
  }

  function begin(topic: string, subscription: string, options: RedriveOptions = {}) {
    return client.admin.redriveDeadLetters({ topic, subscription, ...options });
  }

  /** Everything that a redrive says. */
  async function redrive(...args: Parameters<typeof begin>): Promise<Counts[]> {
    const said: Counts[] = [];
    for await (const { redrivenCount, remainingCount } of begin(...args)) {
      said.push({ redriven: Number(redrivenCount), remaining: Number(remainingCount) });
    }
    return said;
  }

  async function lastOf(...args: Parameters<typeof begin>): Promise<Counts | undefined> {
    return (await redrive(...args)).at(-1);
  }

  async function failureOf(call: Promise<unknown>): Promise<string> {
    const error = await call.then(
      () => assert.fail('the call did not fail'),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof SluiceError, String(error));
    return error.reason;
  }

  async function nextOffset(topic: string, partition = 0): Promise<number> {
    const { topic: found } = await client.admin.getTopic({ name: topic });
    return Number(found?.partitions[partition]?.nextOffset);
  }

  async function readTexts(topic: string, options: { limit?: bigint; offset?: bigint } = {}) {
    const { limit = 0n, offset } = options;
    const start = offset === undefined ? {} : { position: { case: 'offset' as const, value: offset } };
    const read: string[] = [];
    for await (const { runs } of client.broker.read({ topic, limit, start })) {
      read.push(...deliveredOf(runs).map(({ text }) => text));
    }
    return read;
  }

  it('brings dead letters back to the subscription that dead-lettered them, and to no other', async () => {
    await createSubscription('only', 's');
    await createSubscription('only', 'other');
    await giveUp('only', 's', [{ text: 'bad', key: 'k', headers: { own: 'yes' } }]);
    assert.deepEqual(await lastOf('only', 's'), { redriven: 1, remaining: 0 });
    await publish(client, 'only', ['after']);

    const target = await open('only', 's');
    const [bad, after] = await target.take(2);
    assert.deepEqual([bad?.text, bad?.key, bad?.attempt, bad?.offset], ['bad', 'k', 1, 1]);
    assert.equal(bad?.headers.own, 'yes');
    assert.equal(bad?.headers['sluice-dead-letter-offset'], '0');
    assert.equal(after?.text, 'after');
    await target.settle([bad!, after!], ack);

    const other = await open('only', 'other');
    const messages = await other.take(2);
    assert.deepEqual(
      messages.map(({ text, offset }) => [text, offset]),
      [
        ['bad', 0],
        ['after', 2],
      ],
    );
    const { settledCount, stale } = await other.settleRanges([{ partition: 0, first: 0, last: 2 }], ack);
    assert.deepEqual([settledCount, stale.length], [2n, 0]);
    const { subscription } = await client.admin.getSubscription({ topic: 'only', name: 'other' });
    assert.equal(subscription?.partitions[0]?.acknowledgedOffset, 3n);

    const { statuses } = await client.admin.getMessage({ topic: 'only', partition: 0, offset: 1n });
    assert.deepEqual(
      statuses.map((status) => [status.subscription, status.state]),
      [['s', State.DONE]],
    );
    target.close();
    other.close();
  });

  it('is nothing that a reader of the topic sees', async () => {
    await createSubscription('unseen', 's');
    await giveUp('unseen', 's', texts('bad', 3));
    await redrive('unseen', 's');
    assert.deepEqual(await readTexts('unseen'), texts('bad', 3), 'ends at what was redriven');
    await publish(client, 'unseen', texts('after', 3));
    assert.deepEqual(await readTexts('unseen'), [...texts('bad', 3), ...texts('after', 3)]);
    assert.deepEqual(await readTexts('unseen', { limit: 4n }), [...texts('bad', 3), 'after-0']);
    assert.deepEqual(await readTexts('unseen', { offset: 4n }), texts('after', 3), 'starts among it');
    assert.deepEqual(await readTexts('unseen', { offset: 4n, limit: 1n }), ['after-0']);
  });

  it('passes by other subscriptions after a restart, when nothing is in memory', async () => {
    await createSubscription('restarted', 's');
    await createSubscription('restarted', 'other');
    await giveUp('restarted', 's', texts('bad', 2));
    await redrive('restarted', 's');
    await publish(client, 'restarted', ['after']);
    await broker.restart();
    client.close();
    client = connect(broker.address);
    assert.deepEqual(await readTexts('restarted'), [...texts('bad', 2), 'after']);
    const other = await open('restarted', 'other');
    assert.deepEqual(await other.takeTexts(3), [...texts('bad', 2), 'after']);
    const target = await open('restarted', 's');
    assert.deepEqual(await target.takeTexts(3), [...texts('bad', 2), 'after']);
    other.close();
    target.close();
  });

  it('is settled for other subscriptions once they have passed it by, over a kill too', async () => {
    await createSubscription('passed', 's');
    await createSubscription('passed', 'other');
    const other = await open('passed', 'other');
    await giveUp('passed', 's', texts('bad', 2));
    await other.settle(await other.take(2), ack);
    await redrive('passed', 's');
    // What was submitted before is durable with this receipt.
    await publish(client, 'elsewhere', ['m']);
    await broker.restart();
    client.close();
    client = connect(broker.address);
    const { subscription } = await client.admin.getSubscription({ topic: 'passed', name: 'other' });
    const [partition] = subscription?.partitions ?? [];
    assert.deepEqual([partition?.acknowledgedOffset, partition?.backlogMessageCount], [4n, 0n]);
  });

  it('keeps each key in its partition and in order, and what has none where it was', async () => {
    await client.admin.createTopic({ topic: { name: 'keyed', partitionCount: 4 } });
    await createSubscription('keyed', 's');
    const keys = ['a', 'b', 'c', 'd', 'e'];
    const sent = texts('m', 60).map((text, i) => ({ text, key: keys[i % keys.length]! }));
    await giveUp('keyed', 's', sent);
    for (const partition of [2, 1]) {
      const consumer = await open('keyed', 's');
      await publish(client, 'keyed', [`none-${partition}`], partition);
      await consumer.settle(await consumer.take(1), deadLetter('broken'));
      consumer.close();
    }
    const ends = await Promise.all([0, 1, 2, 3].map((partition) => nextOffset('keyed', partition)));
    assert.deepEqual(await lastOf('keyed', 's'), { redriven: 62, remaining: 0 });
    const consumer = await open('keyed', 's');
    const messages = await consumer.take(62);
    for (const { partition, offset } of messages) assert.ok(offset >= ends[partition]!);
    for (const key of keys) {
      const ofKey = messages.filter((message) => message.key === key);
      assert.deepEqual(
        ofKey.map(({ text }) => text),
        sent.filter((message) => message.key === key).map(({ text }) => text),
      );
      const [original] = deliveredOf(await originals('keyed')).filter((message) => message.key === key);
      assert.deepEqual(new Set(ofKey.map(({ partition }) => partition)), new Set([original!.partition]));
    }
    for (const { text, key, partition } of messages) {
      if (key === '') assert.equal(text, `none-${partition}`);
    }
    consumer.close();
  });

  /** The messages that every subscription gets. */
  async function originals(topic: string) {
    const found = [];
    for await (const { runs } of client.broker.read({ topic })) found.push(...runs);
    return found;
  }

  it('finds dead letters in the order in which they were given up, however they were read', async () => {
    const count = 300;
    await createSubscription('ordered', 's');
    await publish(client, 'ordered', texts('bad', count));
    // Now the messages are only on the disk, and are read there by several readers at once.
    await broker.restart();
    client.close();
    client = connect(broker.address);
    const consumer = await open('ordered', 's');
    await consumer.settle(await consumer.take(count), deadLetter('broken'));
    assert.deepEqual(await lastOf('ordered', 's'), { redriven: count, remaining: 0 });
    assert.deepEqual(await consumer.takeTexts(count), texts('bad', count));
    consumer.close();
  });

  it('says in a dry run what it would do, and does nothing', async () => {
    await createSubscription('dry', 's');
    await giveUp('dry', 's', texts('bad', 5));
    assert.deepEqual(await lastOf('dry', 's', { dryRun: true }), { redriven: 5, remaining: 0 });
    assert.deepEqual(await lastOf('dry', 's', { dryRun: true, limit: 2n }), { redriven: 2, remaining: 3 });
    assert.equal(await nextOffset('dry'), 5);
  });

  it('sends no more back than its limit, and goes on there the next time', async () => {
    await createSubscription('limited', 's');
    await giveUp('limited', 's', texts('bad', 5));
    assert.deepEqual(await lastOf('limited', 's', { limit: 2n }), { redriven: 2, remaining: 3 });
    assert.equal(await nextOffset('limited'), 7);
    assert.deepEqual(await lastOf('limited', 's', { limit: 10n }), { redriven: 3, remaining: 0 });
    assert.deepEqual(await lastOf('limited', 's'), { redriven: 0, remaining: 0 });
    const consumer = await open('limited', 's');
    assert.deepEqual(await consumer.takeTexts(5), texts('bad', 5));
    consumer.close();
  });

  it('keeps to a rate, and says how far it is on the way', async () => {
    await createSubscription('slow', 's');
    await giveUp('slow', 's', texts('bad', 12));
    const said = await redrive('slow', 's', { rate: 10 });
    const onTheWay = said.filter(({ redriven }) => redriven > 0 && redriven < 12);
    assert.ok(onTheWay.length > 0, JSON.stringify(said));
    for (const [i, { redriven, remaining }] of said.entries()) {
      if (remaining > 0) assert.equal(redriven + remaining, 12);
      assert.ok(redriven >= (said[i - 1]?.redriven ?? 0));
    }
    assert.deepEqual(said.at(-1), { redriven: 12, remaining: 0 });
  });

  it('loses and doubles nothing when the broker is killed in the middle, again and again', async () => {
    const count = 1_500;
    await createSubscription('killed', 's');
    await giveUp('killed', 's', texts('bad', count));
    for (let kill = 0; kill < 2; kill++) {
      let isKilled = false;
      const interrupted = (async () => {
        for await (const { redrivenCount } of begin('killed', 's', { rate: 300 })) {
          if (redrivenCount === 0n || isKilled) continue;
          isKilled = true;
          await broker.kill();
        }
      })();
      await assert.rejects(interrupted);
      await broker.start();
      client.close();
      client = connect(broker.address);
      const redriven = (await nextOffset('killed')) - count;
      assert.ok(redriven > 0 && redriven < count, `killed after ${redriven}`);
      const left = { redriven: count - redriven, remaining: 0 };
      assert.deepEqual(await lastOf('killed', 's', { dryRun: true }), left);
    }
    await redrive('killed', 's');
    assert.equal(await nextOffset('killed'), 2 * count);
    const consumer = await open('killed', 's');
    assert.deepEqual(await consumer.takeTexts(count), texts('bad', count));
    consumer.close();
  });

  it('ends when the broker drains, and goes on there afterwards', async () => {
    await createSubscription('drained', 's');
    await giveUp('drained', 's', texts('bad', 5));
    let stopped: Promise<unknown> | undefined;
    const drained = (async () => {
      for await (const { redrivenCount } of begin('drained', 's', { rate: 0.01 })) {
        if (redrivenCount === 1n) stopped ??= broker.stop();
      }
    })();
    assert.equal(await failureOf(drained), 'DRAINING');
    await stopped;
    await broker.start();
    client.close();
    client = connect(broker.address);
    assert.deepEqual(await lastOf('drained', 's'), { redriven: 4, remaining: 0 });
  });

  it('goes on where another call was, whether that has ended or not', async () => {
    await createSubscription('left', 's');
    await giveUp('left', 's', texts('bad', 100));
    const cancelled = begin('left', 's', { rate: 20 });
    for await (const { redrivenCount } of cancelled) if (redrivenCount > 0n) break;
    cancelled.cancel();
    let atTakeover: Counts | undefined;
    let taken: Promise<Counts | undefined> | undefined;
    const replaced = (async () => {
      for await (const { redrivenCount, remainingCount } of begin('left', 's', { rate: 20 })) {
        atTakeover = { redriven: Number(redrivenCount), remaining: Number(remainingCount) };
        if (redrivenCount > 0n) taken ??= lastOf('left', 's');
      }
    })();
    assert.equal(await failureOf(replaced), 'REDRIVE_REPLACED');
    // What it sent last may have become durable after it was told to stop.
    const last = await taken;
    assert.equal(last?.remaining, 0);
    assert.ok(
      last.redriven > 0 && last.redriven <= atTakeover!.remaining,
      JSON.stringify({ last, atTakeover }),
    );
    assert.ok(atTakeover!.redriven + atTakeover!.remaining < 100);
    const consumer = await open('left', 's');
    assert.deepEqual(await consumer.takeTexts(100), texts('bad', 100));
    assert.equal(await nextOffset('left'), 200);
    consumer.close();
  });

  it('doubles nothing when calls take over from each other while they are at work', async () => {
    const count = 2_000;
    await createSubscription('contended', 's');
    await giveUp('contended', 's', texts('bad', count));
    // Each begins when the one before has counted and sends back.
    const takeOver = async (callsLeft: number): Promise<void> => {
      let next: Promise<void> | undefined;
      const call = (async () => {
        for await (const _ of begin('contended', 's')) {
          if (callsLeft > 0) next ??= takeOver(callsLeft - 1);
        }
      })();
      await call.catch((error: SluiceError) => assert.equal(error.reason, 'REDRIVE_REPLACED'));
      await next;
    };
    await takeOver(20);
    assert.equal(await nextOffset('contended'), 2 * count);
    const consumer = await open('contended', 's');
    assert.deepEqual(await consumer.takeTexts(count), texts('bad', count));
    consumer.close();
  });

  it('takes from a shared dead-letter topic only what the subscription gave up', async () => {
    for (const [topic, name] of [
      ['shared-a', 's'],
      ['shared-a', 't'],
      ['shared-b', 's'],
    ] as const) {
      await createSubscription(topic, name, 'shared-letters');
    }
    await giveUp('shared-a', 's', ['a-s-0']);
    await giveUp('shared-b', 's', ['b-s-0', 'b-s-1']);
    const t = await open('shared-a', 't');
    await t.settle(await t.take(1), deadLetter('broken'));
    await giveUp('shared-a', 's', ['a-s-1']);
    await t.settle(await t.take(1), ack);
    assert.deepEqual(await lastOf('shared-a', 's'), { redriven: 2, remaining: 0 });
    assert.deepEqual(await lastOf('shared-a', 't', { dryRun: true }), { redriven: 1, remaining: 0 });
    assert.deepEqual(await lastOf('shared-b', 's', { limit: 1n }), { redriven: 1, remaining: 1 });
    assert.deepEqual(await lastOf('shared-a', 't'), { redriven: 1, remaining: 0 });
    assert.deepEqual(await lastOf('shared-a', 's'), { redriven: 0, remaining: 0 });
    assert.deepEqual(await t.takeTexts(1), ['a-s-0']);
    const s = await open('shared-a', 's');
    assert.deepEqual(await s.takeTexts(2), ['a-s-0', 'a-s-1']);
    const b = await open('shared-b', 's');
    assert.deepEqual(await b.takeTexts(1), ['b-s-0']);
    assert.equal(await nextOffset('shared-letters'), 5);
    for (const consumer of [t, s, b]) consumer.close();
  });

  it('can be done again with what failed again', async () => {
    await createSubscription('again', 's');
    await giveUp('again', 's', ['bad']);
    for (let round = 1; round <= 2; round++) {
      assert.deepEqual(await lastOf('again', 's'), { redriven: 1, remaining: 0 });
      const consumer = await open('again', 's');
      for (let attempt = 1; attempt <= 2; attempt++) {
        const [bad] = await consumer.take(1);
        assert.deepEqual([bad?.text, bad?.attempt, bad?.offset], ['bad', attempt, round]);
        await consumer.settle([bad!], nack(0));
      }
      consumer.close();
      const deadLetters = await open('again.s.dead-letter', `look-${round}`);
      const message = (await deadLetters.take(round + 1)).at(-1);
      assert.equal(message?.headers['sluice-dead-letter-offset'], String(round));
      assert.equal(message?.headers['sluice-dead-letter-attempts'], '2');
      deadLetters.close();
    }
    const { subscription } = await client.admin.getSubscription({ topic: 'again', name: 's' });
    assert.equal(subscription?.partitions[0]?.deadLetterCount, 3n, 'counted for ever');
    assert.deepEqual(await lastOf('again', 's'), { redriven: 1, remaining: 0 });
  });

  it('starts anew with a dead-letter topic that was deleted and made again', async () => {
    await createSubscription('renewed', 's');
    await giveUp('renewed', 's', texts('old', 3));
    await redrive('renewed', 's');
    await client.admin.deleteTopic({ name: 'renewed.s.dead-letter' });
    assert.deepEqual(await lastOf('renewed', 's'), { redriven: 0, remaining: 0 });
    const consumer = await open('renewed', 's');
    await consumer.settle(await consumer.take(3), ack);
    consumer.close();
    await giveUp('renewed', 's', ['new']);
    assert.deepEqual(await lastOf('renewed', 's'), { redriven: 1, remaining: 0 });
  });

  it('waits while the backlog of the topic is full', async () => {
    await client.admin.createTopic({ topic: { name: 'full', backlogLimit: { maxMessages: 3n } } });
    await createSubscription('full', 's');
    await giveUp('full', 's', texts('bad', 3));
    await publish(client, 'full', texts('more', 3));
    let waitedCount = 0;
    const consumer = await open('full', 's');
    const more = await consumer.take(3);
    for await (const { redrivenCount, remainingCount } of begin('full', 's')) {
      assert.equal(redrivenCount + remainingCount, remainingCount === 0n ? redrivenCount : 3n);
      if (redrivenCount === 0n && remainingCount === 3n) waitedCount++;
      // Once after counting, and then because time passes and nothing moves.
      if (waitedCount === 3) await consumer.settle(more, ack);
    }
    assert.ok(waitedCount >= 3);
    assert.deepEqual(await consumer.takeTexts(3), texts('bad', 3));
    consumer.close();
  });

  it('refuses what does not exist, and ends with what is deleted', async () => {
    assert.equal(await failureOf(redrive('nowhere', 's')), 'TOPIC_NOT_FOUND');
    await createSubscription('deleted', 's');
    assert.equal(await failureOf(redrive('deleted', 'absent')), 'SUBSCRIPTION_NOT_FOUND');
    assert.deepEqual(await lastOf('deleted', 's'), { redriven: 0, remaining: 0 });
    const endings = [
      ['SUBSCRIPTION_DELETED', () => client.admin.deleteSubscription({ topic: 'deleted', name: 's' })],
      ['TOPIC_DELETED', () => client.admin.deleteTopic({ name: 'deleted.s.dead-letter' })],
      ['TOPIC_DELETED', () => client.admin.deleteTopic({ name: 'deleted' })],
    ] as const;
    for (const [reason, remove] of endings) {
      await createSubscription('deleted', 's');
      await giveUp('deleted', 's', texts('bad', 5));
      let removed: Promise<unknown> | undefined;
      const ended = (async () => {
        for await (const { redrivenCount } of begin('deleted', 's', { rate: 0.01 })) {
          if (redrivenCount === 1n) removed ??= remove();
        }
      })();
      assert.equal(await failureOf(ended), reason);
      await removed;
      if (reason === 'SUBSCRIPTION_DELETED') await client.admin.deleteTopic({ name: 'deleted' });
    }
  });
});
