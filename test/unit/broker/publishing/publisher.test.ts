import assert from 'node:assert/strict';
import { SluiceError } from '../../../../src/base/errors.js';
import { secondMs } from '../../../../src/base/units.js';
import type { Publisher, Receipt } from '../../../../src/broker/types.js';
import { encodeBatch } from '../../../simulation/messages.js';
import { contextOf } from '../../../support/call-context.js';
import { PromptBroker, subscriptionOf, topicOf } from '../prompt-broker.js';

const earliest = { kind: 'earliest' } as const;
const ack = { kind: 'ack' } as const;

/** A publisher with what it was answered. */
class Stream {
  readonly answers: (Receipt | string)[] = [];
  readyCount = 0;
  readonly publisher: Publisher;

  constructor(prompt: PromptBroker) {
    this.publisher = prompt.broker.openPublisher(contextOf('test'));
  }

  publish(topic: string | undefined, count = 1, partition?: number): void {
    const drafts = Array.from({ length: count }, () => ({ id: 'm', key: '', padding: 0 }));
    const batch = { topic, partition, producer: undefined, ...encodeBatch(drafts) };
    this.publisher.publish(batch, (error, receipt) => this.answers.push(error?.reason ?? receipt!));
  }

  whenReady(): void {
    this.publisher.whenReady(() => {
      this.readyCount += 1;
    });
  }
}

describe('the stream of a producer', () => {
  let prompt: PromptBroker;

  beforeEach(async () => {
    prompt = await PromptBroker.start();
  });
  afterEach(() => prompt.stop());

  const settled = () => prompt.host.storage.quiesce();

  it('answers with where the messages are', async () => {
    await prompt.broker.createTopic(topicOf('orders', 2, { durability: 'synced' }));
    const stream = new Stream(prompt);
    stream.publish('orders', 2, 1);
    stream.publish(undefined, 1, 1);
    stream.publish(undefined, 1, 0);
    await settled();
    const receipt = (count: number, partition: number, first: number): Receipt => ({
      messageCount: count,
      duplicateCount: 0,
      ranges: [{ partition, first, last: first + count - 1 }],
      durability: 'synced',
    });
    assert.deepEqual(stream.answers, [receipt(2, 1, 0), receipt(1, 1, 2), receipt(1, 0, 0)]);
    stream.publisher.close();
  });

  it('needs a topic, and stays bound to one that was deleted', async () => {
    const { broker } = prompt;
    const stream = new Stream(prompt);
    stream.publish(undefined);
    assert.equal(stream.answers.length, 1);
    assert.equal(typeof stream.answers[0], 'string');
    stream.publish('orders');
    await settled();
    await broker.deleteTopic('orders');
    await broker.createTopic(topicOf('orders'));
    stream.publish(undefined);
    stream.publish('orders');
    assert.deepEqual(stream.answers.slice(2), ['TOPIC_DELETED', 'TOPIC_DELETED']);
    const other = new Stream(prompt);
    other.publish('orders');
    await settled();
    assert.equal(typeof other.answers[0], 'object');
    assert.equal(broker.getTopic('orders').partitions[0]?.nextOffset, 1);
  });

  it('refuses a partition that does not exist, and creates no topic for it', () => {
    const stream = new Stream(prompt);
    stream.publish('fresh', 1, 1);
    assert.deepEqual(stream.answers, ['UNKNOWN_PARTITION']);
    assert.deepEqual(prompt.broker.listTopics(0, '').items, []);
  });

  it('is held while its topic is full, and goes on in order when there is room', async () => {
    const { broker, host } = prompt;
    const backlogLimit = { maxBytes: 0, maxMessages: 2, whenFull: 'block' as const };
    await broker.createTopic(topicOf('orders', 1, { backlogLimit }));
    await broker.createSubscription(subscriptionOf('orders', 's'), earliest);
    const stream = new Stream(prompt);
    stream.publish('orders', 2);
    host.clock.advance(secondMs);
    await settled();
    stream.publish('orders', 1);
    stream.whenReady();
    await settled();
    assert.equal(stream.answers.length, 1);
    assert.equal(stream.readyCount, 0);
    assert.equal(broker.listProducers('')[0]?.hold?.reason, 'backlog');
    assert.equal(broker.listProducers('')[0]?.pendingBatchCount, 1);
    host.clock.advance(200);
    assert.equal(broker.listProducers('')[0]?.hold?.forMs, 200);
    const consumer = await prompt.consume('orders', 's');
    await broker.settle(consumer.session.sessionId, [{ partition: 0, first: 0, last: 1, outcome: ack }]);
    host.clock.advance(secondMs);
    await settled();
    assert.equal(stream.answers.length, 2);
    assert.equal(typeof stream.answers[1], 'object');
    assert.equal(stream.readyCount, 1);
    assert.equal(broker.listProducers('')[0]?.hold, undefined);
    assert.equal(broker.listProducers('')[0]?.pendingBatchCount, 0);
    assert.equal(broker.stats().heldMs.get('backlog'), 200 + secondMs);
  });

  it('answers a held batch when it is stopped, once, and never calls ready after that', async () => {
    const { broker, host } = prompt;
    const backlogLimit = { maxBytes: 1, maxMessages: 0, whenFull: 'block' as const };
    await broker.createTopic(topicOf('orders', 1, { backlogLimit }));
    await broker.createSubscription(subscriptionOf('orders', 's'), earliest);
    const stream = new Stream(prompt);
    stream.publish('orders');
    host.clock.advance(secondMs);
    await settled();
    stream.publish('orders');
    stream.whenReady();
    stream.publisher.stop(new SluiceError('DRAINING', 'later'));
    stream.publisher.stop(new SluiceError('DRAINING', 'later'));
    stream.whenReady();
    assert.deepEqual(stream.answers.slice(1), ['DRAINING']);
    assert.deepEqual(broker.listProducers(''), []);
    await broker.deleteSubscription('orders', 's');
    host.clock.advance(secondMs);
    await settled();
    assert.equal(stream.answers.length, 2);
    assert.equal(stream.readyCount, 0);
  });

  it('is ready at once while there is room, and waits while the queue of the writer is full', async () => {
    const { host, broker } = prompt;
    const stream = new Stream(prompt);
    stream.whenReady();
    assert.equal(stream.readyCount, 1);
    host.storage.setRoom(false);
    stream.whenReady();
    assert.equal(stream.readyCount, 1);
    assert.equal(broker.listProducers('')[0]?.hold?.reason, 'writer');
    host.storage.setRoom(true);
    await settled();
    assert.equal(stream.readyCount, 2);
    stream.publisher.close();
    stream.whenReady();
    assert.equal(stream.readyCount, 2);
  });
});
