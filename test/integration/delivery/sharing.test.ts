import assert from 'node:assert/strict';
import { connect, type SluiceClient } from '@sluice/client';
import { Ordering } from '@sluice/client/api';
import { useBroker } from '../../support/broker-process.js';
import { ack, TestConsumer } from '../../support/consumer.js';
import { publish } from '../../support/producer.js';

describe('work that consumers share', () => {
  const broker = useBroker();
  let client: SluiceClient;
  before(() => {
    client = connect(broker.address);
  });
  after(() => client.close());

  async function createTopic(topic: string, ordering: Ordering): Promise<void> {
    await client.admin.createSubscription({ subscription: { topic, name: 's', ordering } });
  }

  function open(topic: string, maxMessages = 1_000): Promise<TestConsumer> {
    return TestConsumer.open(client, { topic, subscription: 's', maxMessages });
  }

  /** Each with a key of its own. */
  function tasks(first: number, count: number): { text: string; key: string }[] {
    return Array.from({ length: count }, (_, i) => ({ text: `task-${first + i}`, key: `key-${first + i}` }));
  }

  function counts(consumers: readonly TestConsumer[]): number[] {
    return consumers.map(({ inbox }) => inbox.length);
  }

  /** Nothing more is on its way when all that was published has arrived. */
  async function allArrived(consumers: readonly TestConsumer[], count: number): Promise<void> {
    await Promise.race(
      consumers.map((consumer) =>
        consumer.until(() => counts(consumers).reduce((sum, each) => sum + each, 0) >= count),
      ),
    );
  }

  for (const [name, ordering] of [
    ['none', Ordering.NONE],
    ['key', Ordering.KEY],
  ] as const) {
    for (const [workers, taskCount] of [
      [3, 24],
      [10, 100],
    ] as const) {
      it(`is split evenly among ${workers} idle consumers that granted 1,000 each, order ${name}`, async () => {
        const topic = `split-${name}-${workers}`;
        await createTopic(topic, ordering);
        const consumers = await Promise.all(Array.from({ length: workers }, () => open(topic)));
        await publish(client, topic, tasks(0, 1));
        await allArrived(consumers, 1);
        await publish(client, topic, tasks(1, taskCount - 1));
        await allArrived(consumers, taskCount);
        assert.deepEqual(counts(consumers), new Array(workers).fill(taskCount / workers));
        for (const consumer of consumers) consumer.close();
      });
    }

    it(`is there for a consumer that joins in the middle of a backlog, order ${name}`, async () => {
      const topic = `join-${name}`;
      await createTopic(topic, ordering);
      await publish(client, topic, tasks(0, 100));
      const first = await open(topic, 40);
      await first.until(() => first.inbox.length === 40);
      const joining = await open(topic);
      await joining.until(() => joining.inbox.length === 60);
      assert.equal(first.inbox.length, 40, 'what is outstanding stays where it is');
      await first.setCredit({ messages: 1_000 });
      await joining.settle(joining.inbox.splice(0, 30), ack);
      await publish(client, topic, tasks(100, 20));
      await allArrived([first, joining], 40 + 30 + 20);
      // 40 and 30 are outstanding: both end at 45.
      assert.deepEqual(counts([first, joining]), [45, 45]);
      first.close();
      joining.close();
    });
  }
});
