import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { type Client, connect } from '@sluice/client';
import { BrokerProcess } from '../../support/broker-process.js';
import { deadLetter, TestConsumer } from '../../support/consumer.js';
import { publish } from '../../support/producer.js';
import { commit, makeDirectory, openIn, subscriptionConfig, topicConfig } from '../storage/harness.js';

const topic = 't'.repeat(150);
const subscription = 's'.repeat(150);
/** As earlier versions named the topic of the dead letters. */
const longName = `${topic}.${subscription}.dead-letter`;

describe('the dead-letter topic of long names', () => {
  let directory: string;
  let broker: BrokerProcess;
  let client: Client;
  beforeEach(async () => {
    directory = await makeDirectory();
  });
  afterEach(async () => {
    client.close();
    await broker.dispose();
    await rm(directory, { recursive: true });
  });

  async function start(): Promise<void> {
    broker = await BrokerProcess.start({
      dataDirectory: directory,
      args: ['--max-partition-count', '4'],
    });
    client = connect(broker.address);
  }

  async function deadLetterOne(name = subscription): Promise<void> {
    const consumer = await TestConsumer.open(client, { topic, subscription: name, maxMessages: 10 });
    await publish(client, topic, ['broken']);
    await consumer.settle(await consumer.take(1), deadLetter('broken'));
    consumer.close();
  }

  async function deadLetterTopics(): Promise<string[]> {
    const { topics } = await client.admin.listTopics({});
    return topics.map(({ name }) => name).filter((name) => name.endsWith('.dead-letter'));
  }

  /** Looks the topic up, reads it, redrives it and deletes it. */
  async function use(name: string): Promise<void> {
    const { topic: found } = await client.admin.getTopic({ name });
    assert.equal(found?.partitions[0]?.nextOffset, 1n);
    const read: number[] = [];
    for await (const { runs } of client.broker.read({ topic: name })) {
      for (const { messages } of runs) read.push(messages.length);
    }
    assert.deepEqual(read, [1]);
    await client.admin.getMessage({ topic: name, partition: 0, offset: 0n });
    await client.admin.updateTopic({ topic: { name, retention: { maxBytes: 1_000_000n } } });
    let redriven = 0n;
    for await (const { redrivenCount } of client.admin.redriveDeadLetters({ topic, subscription })) {
      redriven = redrivenCount;
    }
    assert.equal(redriven, 1n);
    await client.admin.deleteTopic({ name });
  }

  it('has a valid name of its own', async () => {
    await start();
    await client.admin.createTopic({ topic: { name: topic } });
    await deadLetterOne();
    const [name = '', ...others] = await deadLetterTopics();
    assert.deepEqual(others, []);
    assert.equal(name.length, 200);
    assert(name.startsWith(`${topic}.s`));
    await use(name);
    // The names begin alike, for 171 characters.
    await deadLetterOne(`${subscription.slice(1)}x`);
    const [other = ''] = await deadLetterTopics();
    assert.notEqual(other, name);
  });

  it('keeps the longer name that an earlier version gave it, and can be read and deleted', async () => {
    const storage = await openIn(directory);
    const [topicId, deadLetterTopicId] = [storage.nextTopicId(), storage.nextTopicId()];
    const subscriptionId = storage.nextSubscriptionId();
    await commit(storage, {
      putTopics: [
        { topicId, config: topicConfig(topic, 1) },
        { topicId: deadLetterTopicId, config: topicConfig(longName, 1) },
      ],
      putSubscriptions: [{ subscriptionId, topicId, config: subscriptionConfig(topic, subscription) }],
    });
    await storage.close();
    await start();
    await deadLetterOne();
    assert.deepEqual(await deadLetterTopics(), [longName]);
    await use(longName);
    // The redriven message and a new one go to the topic with the valid name.
    await deadLetterOne();
    const [name = '', ...others] = await deadLetterTopics();
    assert.deepEqual(others, []);
    assert.equal(name.length, 200);
  });
});
