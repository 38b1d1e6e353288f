import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { Ordering } from '@sluice/client/api';
import { useBroker } from '../../support/broker-process.js';
import { ack, type Delivered, nack, TestConsumer, toDuration } from '../../support/consumer.js';
import { publish, texts } from '../../support/producer.js';

describe('delivery to many consumers of one partition', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  async function createSubscription(topic: string, ordering: Ordering): Promise<void> {
    const backoff = toDuration(1);
    await client.admin.createSubscription({
      subscription: { topic, name: 's', ordering, retry: { minBackoff: backoff, maxBackoff: backoff } },
    });
  }

  describe('in order of keys', () => {
    it('gives a key to one consumer at a time, and other keys to others', async () => {
      await createSubscription('keys', Ordering.KEY);
      await publish(client, 'keys', [
        { text: 'a1', key: 'a' },
        { text: 'b1', key: 'b' },
        { text: 'a2', key: 'a' },
        { text: 'b2', key: 'b' },
      ]);
      const first = await TestConsumer.open(client, { topic: 'keys', subscription: 's', maxMessages: 1 });
      const second = await TestConsumer.open(client, { topic: 'keys', subscription: 's', maxMessages: 1 });
      const [m1] = await first.take(1);
      const [m2] = await second.take(1);
      assert.deepEqual([m1?.text, m2?.text].sort(), ['a1', 'b1']);
      await first.settle([m1!], ack);
      await second.settle([m2!], ack);
      const rest = [...(await first.takeTexts(1)), ...(await second.takeTexts(1))];
      assert.deepEqual(rest.sort(), ['a2', 'b2']);
      first.close();
      second.close();
    });

    it('lets other keys flow past a key that fails, and keeps the order of that key', async () => {
      await createSubscription('past', Ordering.KEY);
      await publish(client, 'past', [
        { text: 'bad1', key: 'bad' },
        { text: 'ok1', key: 'ok' },
        { text: 'bad2', key: 'bad' },
        { text: 'ok2', key: 'ok' },
      ]);
      const consumer = await TestConsumer.open(client, { topic: 'past', subscription: 's' });
      const messages = await consumer.take(4);
      const of = (text: string) => messages.filter((each) => each.text === text);
      await consumer.settle(of('bad1'), nack(60_000));
      await consumer.settle([...of('ok1'), ...of('ok2')], ack);
      await publish(client, 'past', [
        { text: 'bad3', key: 'bad' },
        { text: 'ok3', key: 'ok' },
      ]);
      assert.deepEqual(await consumer.takeTexts(1), ['ok3']);
      const { stale } = await consumer.settle(of('bad2'), ack);
      assert.equal(stale.length, 1, 'bad2 was taken back behind bad1');
      consumer.close();
      // The session is gone, the backoff stays; another session gets the key when it is over, in order.
      await client.admin.seekSubscription({
        topic: 'past',
        name: 's',
        position: { position: { case: 'boundary', value: 1 } },
      });
      const after = await TestConsumer.open(client, { topic: 'past', subscription: 's' });
      const again = await after.take(6);
      const bad = again.filter(({ key }) => key === 'bad').map(({ text }) => text);
      assert.deepEqual(bad, ['bad1', 'bad2', 'bad3']);
      after.close();
    });

    it('keeps every key in order over 2,000 messages with failures and 4 consumers', async () => {
      await createSubscription('busy', Ordering.KEY);
      const keys = 20;
      const count = 2_000;
      await publish(
        client,
        'busy',
        Array.from({ length: count }, (_, i) => ({ text: String(i), key: `k${i % keys}` })),
      );
      const lastOfKey = new Map<string, number>();
      const seen = await consumeAll('busy', count, {
        isFailing: ({ text, attempt }) => attempt === 1 && Number(text) % 97 === 0,
        settled({ key, text }) {
          const last = lastOfKey.get(key) ?? -1;
          assert.ok(Number(text) > last, `key ${key}: ${text} was processed after ${last}`);
          lastOfKey.set(key, Number(text));
        },
      });
      assert.equal(seen.size, count);
    });
  });

  describe('in no order', () => {
    it('shares one partition among consumers, and redelivers a failed message alone', async () => {
      await createSubscription('none', Ordering.NONE);
      await publish(client, 'none', texts('m', 4));
      const first = await TestConsumer.open(client, { topic: 'none', subscription: 's', maxMessages: 2 });
      const second = await TestConsumer.open(client, { topic: 'none', subscription: 's', maxMessages: 2 });
      const mine = await first.take(2);
      const others = await second.take(2);
      assert.deepEqual([...mine, ...others].map(({ text }) => text).sort(), texts('m', 4));
      await first.settle([mine[0]!], nack(0));
      const { settledCount } = await second.settle(others, ack);
      assert.equal(settledCount, 2n, 'the failure took nothing from the others');
      const again = await Promise.race([first.take(1), second.take(1)]);
      assert.deepEqual(
        again.map(({ text, attempt }) => [text, attempt]),
        [[mine[0]!.text, 2]],
      );
      first.close();
      second.close();
    });

    it('delivers each of 2,000 messages once to 4 consumers, failures apart', async () => {
      await createSubscription('many', Ordering.NONE);
      const count = 2_000;
      await publish(client, 'many', texts('m', count));
      const seen = await consumeAll('many', count, {
        isFailing: ({ attempt, offset }) => attempt === 1 && offset % 89 === 0,
        settled() {},
      });
      assert.equal(seen.size, count);
    });
  });

  /**
   * A failure takes back what came behind it with the same key. By the time it is answered all of that has arrived,
   * and perhaps the message itself again: what stands before that is not to be processed.
   */
  function forgetBehind(consumer: TestConsumer, failed: Delivered): void {
    const again = consumer.inbox.findIndex(({ offset }) => offset === failed.offset);
    const isForgotten = ({ key }: Delivered, i: number) => key === failed.key && (again === -1 || i < again);
    const kept = consumer.inbox.filter((each, i) => !isForgotten(each, i));
    consumer.inbox.splice(0, consumer.inbox.length, ...kept);
  }

  interface Work {
    readonly isFailing: (message: Delivered) => boolean;
    /** The message was acknowledged, and the broker said so. */
    readonly settled: (message: Delivered) => void;
  }

  /** Consumes with four consumers until everything is acknowledged; answers the offsets, each settled once. */
  async function consumeAll(
    topic: string,
    count: number,
    { isFailing, settled }: Work,
  ): Promise<Set<number>> {
    const consumers = await Promise.all(
      Array.from({ length: 4 }, () =>
        TestConsumer.open(client, { topic, subscription: 's', maxMessages: 50 }),
      ),
    );
    const seen = new Set<number>();
    let allSeen = () => {};
    const done = new Promise<void>((resolve) => {
      allSeen = resolve;
    });
    const consumeOne = async (consumer: TestConsumer): Promise<void> => {
      await consumer.until(() => consumer.inbox.length > 0);
      const message = consumer.inbox.shift()!;
      if (isFailing(message)) {
        await consumer.settle([message], nack(0));
        if (message.key !== '') forgetBehind(consumer, message);
        return;
      }
      const { settledCount } = await consumer.settle([message], ack);
      // What was taken back meanwhile comes again, and counts then.
      if (settledCount === 0n) return;
      assert.ok(!seen.has(message.offset), `message ${message.offset} was settled twice`);
      seen.add(message.offset);
      settled(message);
      if (seen.size === count) allSeen();
    };
    const consume = async (consumer: TestConsumer): Promise<void> => {
      for (;;) await consumeOne(consumer);
    };
    const working = Promise.all(consumers.map(consume));
    try {
      await Promise.race([done, working]);
    } finally {
      // A call that still waits learns that its stream has ended.
      working.catch(() => {});
      for (const each of consumers) each.close();
    }
    return seen;
  }
});
