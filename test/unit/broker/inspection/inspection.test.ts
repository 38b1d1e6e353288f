import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import { secondMs } from '../../../../src/base/units.js';
import type { ProducerPlace } from '../../../../src/broker/types.js';
import type { Settlement } from '../../../../src/core/types.js';
import { encodeBatch } from '../../../simulation/messages.js';
import { contextOf } from '../../../support/call-context.js';
import { PromptBroker, subscriptionOf, topicOf } from '../prompt-broker.js';

const earliest = { kind: 'earliest' } as const;

function settlement(first: number, last: number, outcome: Settlement['outcome']): Settlement {
  return { partition: 0, first, last, outcome };
}
const ack = { kind: 'ack' } as const;

describe('looking inside the broker', () => {
  let prompt: PromptBroker;

  beforeEach(async () => {
    prompt = await PromptBroker.start();
    await prompt.broker.createTopic(topicOf('orders'));
  });
  afterEach(() => prompt.stop());

  it('lists producers, by topic', async () => {
    const { broker, host } = prompt;
    const publisher = broker.openPublisher(contextOf('10.0.0.1:1'));
    const idle = broker.openPublisher(contextOf('10.0.0.2:2'));
    const producer = { producerId: 'p', epoch: 0, firstSequence: 1 };
    const batch = encodeBatch([1, 2].map(() => ({ id: 'm', key: '', padding: 0 })));
    await new Promise<void>((resolve) =>
      publisher.publish({ topic: 'orders', partition: undefined, producer, ...batch }, () => resolve()),
    );
    const connectTimeMs = host.clock.wallMs();
    const listed = {
      topic: 'orders',
      producerId: 'p',
      peer: '10.0.0.1:1',
      connectTimeMs,
      messageCount: 2,
      pendingBatchCount: 0,
      hold: undefined,
    };
    assert.deepEqual(broker.listProducers('orders'), [listed]);
    assert.deepEqual(broker.listProducers('other'), []);
    assert.deepEqual(
      broker.listProducers('').map(({ peer, topic }) => [peer, topic]),
      [
        ['10.0.0.1:1', 'orders'],
        ['10.0.0.2:2', ''],
      ],
    );
    assert.deepEqual([...broker.stats().producersByHold], [['none', 2]]);
    publisher.close();
    idle.close();
    assert.deepEqual(broker.listProducers(''), []);
  });

  it('says why a producer is held, and for how long', async () => {
    const { broker, host } = prompt;
    const publisher = broker.openPublisher(contextOf('test'));
    publisher.awaitReceipts();
    host.clock.advance(300);
    assert.deepEqual(broker.listProducers('')[0]?.hold, { reason: 'receipts', forMs: 300 });
    assert.deepEqual([...broker.stats().producersByHold], [['receipts', 1]]);
    assert.equal(broker.stats().heldMs.get('receipts'), 300);
    publisher.close();
    assert.equal(broker.stats().heldMs.get('receipts'), 300, 'also after the stream');
  });

  it('lists consumers, by topic and subscription, with what they hold and wait for', async () => {
    const { broker, host } = prompt;
    await prompt.publish('orders', [{}, {}, {}]);
    const credit = { messages: 2, bytes: 1_000 };
    const { session } = await prompt.consume('orders', 'a', { consumerId: 'first', credit });
    await prompt.consume('orders', 'b', { consumerId: 'second' });
    await broker.createTopic(topicOf('other'));
    await prompt.consume('other', 'a', { consumerId: 'third' });
    const ids = (topic: string, subscription: string) =>
      broker.listConsumers(topic, subscription).map(({ consumerId }) => consumerId);
    assert.deepEqual(ids('', ''), ['first', 'second', 'third']);
    assert.deepEqual(ids('orders', ''), ['first', 'second']);
    assert.deepEqual(ids('', 'a'), ['first', 'third']);
    assert.deepEqual(ids('orders', 'b'), ['second']);
    assert.deepEqual(ids('other', 'b'), []);
    host.clock.advance(200);
    const [first] = broker.listConsumers('orders', 'a');
    const { outstandingBytes, ...rest } = first!;
    assert.ok(outstandingBytes > 0 && outstandingBytes < 100);
    assert.deepEqual(rest, {
      sessionId: session.sessionId,
      consumerId: 'first',
      topic: 'orders',
      subscription: 'a',
      peer: 'test',
      connectTimeMs: host.clock.wallMs() - 200,
      credit,
      outstandingMessageCount: 2,
      partitions: [0],
      wait: { reason: 'messageCredit', forMs: 200 },
    });
    const byWait = broker.stats().consumersByWait;
    assert.equal(byWait.get('messageCredit'), 1);
    assert.equal(byWait.get('caughtUp'), 2);
    assert.equal(broker.stats().waitedMs.get('messageCredit'), 200);
    assert.equal(session.isHolding, true);
    await broker.settle(session.sessionId, [settlement(0, 2, ack)]);
    assert.equal(broker.stats().settledMessages, 2);
  });

  it('opens sessions with the default credit, and changes what is given', async () => {
    const { broker } = prompt;
    const { session } = await prompt.consume('orders', 'a', { credit: { bytes: 5 } });
    assert.deepEqual(session.credit, { messages: limits.defaultOutstandingMessages, bytes: 5 });
    assert.deepEqual(broker.setCredit(session.sessionId, { messages: 7 }), { messages: 7, bytes: 5 });
    const other = await prompt.consume('orders', 'b', { credit: { messages: 1 } });
    assert.deepEqual(other.session.credit, { messages: 1, bytes: limits.defaultOutstandingBytes });
    assert.equal(other.session.isHolding, false);
    session.close({ kind: 'closed' } as never);
    const gone = {
      reason: 'SESSION_NOT_FOUND',
      message: `there is no session "${session.sessionId}": it ended, and its messages are delivered again`,
      details: { metadata: { sessionId: session.sessionId } },
    };
    assert.throws(() => broker.setCredit(session.sessionId, {}), gone);
    await assert.rejects(broker.settle(session.sessionId, []), gone);
  });

  it('follows a message from its arrival to its end', async () => {
    const { broker, host } = prompt;
    await broker.createSubscription(subscriptionOf('orders', 'acks'), earliest);
    await broker.createSubscription(subscriptionOf('orders', 'fails'), earliest);
    await prompt.publish('orders', [{ id: 'a' }, { id: 'b' }]);
    const status = async (offset: number) => {
      const { statuses } = await broker.getMessage('orders', 0, offset);
      return statuses.map(({ subscription, state, failedAttempts }) => [subscription, state, failedAttempts]);
    };
    const pending = [
      ['acks', 'pending', 0],
      ['fails', 'pending', 0],
    ];
    assert.deepEqual(await status(1), pending);
    const acks = await prompt.consume('orders', 'acks');
    const fails = await prompt.consume('orders', 'fails');
    const { message, statuses } = await broker.getMessage('orders', 0, 1);
    assert.equal((message?.run.firstOffset ?? 0) + (message?.from ?? 0), 1);
    assert.equal((message?.to ?? 0) - (message?.from ?? 0), 1);
    assert.deepEqual(statuses[0], {
      subscription: 'acks',
      state: 'processing',
      failedAttempts: 0,
      sessionId: acks.session.sessionId,
    });
    await broker.settle(acks.session.sessionId, [settlement(0, 1, ack)]);
    const nack = { kind: 'nack', delayMs: undefined, reason: '' } as never;
    await broker.settle(fails.session.sessionId, [settlement(0, 0, nack)]);
    assert.deepEqual(await status(0), [
      ['acks', 'done', 0],
      ['fails', 'pending', 1],
    ]);
    host.clock.advance(secondMs);
    await host.storage.quiesce();
    assert.deepEqual(fails.offsets, [0, 1, 0, 1], 'in order');
    assert.deepEqual(fails.attempts, [1, 1, 2, 1], 'only the first has failed');
    await broker.settle(fails.session.sessionId, [settlement(0, 0, nack)]);
    await host.storage.quiesce();
    assert.deepEqual(await status(0), [
      ['acks', 'done', 0],
      ['fails', 'failed', 2],
    ]);
    assert.equal(broker.stats().deadLetteredMessages, 1);
    assert.equal(broker.getSubscription('orders', 'fails').partitions[0]?.deadLetterCount, 1);
    assert.equal(broker.getTopic('orders.fails.dead-letter').partitions[0]?.nextOffset, 1);
  });

  it('counts what was published and delivered', async () => {
    const { broker } = prompt;
    const producer = { producerId: 'p', epoch: 0, firstSequence: 1 };
    await prompt.publish('orders', [{}, {}], { producer });
    const receipt = await prompt.publish('orders', [{}, {}], { producer });
    assert.deepEqual([receipt.messageCount, receipt.duplicateCount], [2, 2]);
    await assert.rejects(prompt.publish('orders', [{}], { partition: 3 }), { reason: 'UNKNOWN_PARTITION' });
    await prompt.consume('orders', 'a');
    const stats = broker.stats();
    const { length } = encodeBatch([1, 2].map(() => ({ id: 'm', key: '', padding: 0 }))).source;
    assert.deepEqual(
      [stats.publishedMessages, stats.publishedBytes, stats.duplicateMessages, stats.refusedBatches],
      [2, length, 2, 1],
    );
    assert.deepEqual([stats.deliveredMessages, stats.deliveredBytes], [2, length]);
    assert.equal(stats.frameBytes, 0);
    assert.equal(stats.queuedBytes, 0);
    assert.ok(stats.tailBytes > 0);
  });

  it('tells a producer why its numbers are refused', async () => {
    const { broker } = prompt;
    const publish = (epoch: number, firstSequence: number) =>
      prompt.publish('orders', [{}], { producer: { producerId: 'p', epoch, firstSequence } });
    await publish(1, 1);
    await assert.rejects(publish(1, 3), {
      reason: 'SEQUENCE_GAP',
      message: 'producer "p" sent sequence 3, but 2 comes next: resume there',
      details: { metadata: { lastSequence: '1' } },
    });
    await assert.rejects(publish(2, 1), {
      reason: 'SEQUENCE_REUSED',
      message: /producer "p" sent sequence 1, which an earlier epoch used: 2 comes next/,
      details: { metadata: { lastSequence: '1' } },
    });
    await assert.rejects(publish(0, 2), {
      reason: 'PRODUCER_FENCED',
      message: /epoch 0 of producer "p" is over: another process claimed it with epoch 1/,
      details: { metadata: { epoch: '1' } },
    });
    const place = ({ epoch, lastSequence }: ProducerPlace) => [epoch, lastSequence];
    assert.deepEqual(place(await broker.getProducer('orders', 'p')), [1, 1]);
    const claimed = await broker.openProducer('orders', 'p', { claimId: 7, currentEpoch: undefined });
    assert.deepEqual(place(claimed), [2, 1]);
    const again = await broker.openProducer('orders', 'p', { claimId: 7, currentEpoch: undefined });
    assert.deepEqual(place(again), place(claimed), 'a repeated call');
    await assert.rejects(publish(1, 2), { reason: 'PRODUCER_FENCED' });
    await assert.rejects(broker.openProducer('orders', 'p', { claimId: 8, currentEpoch: 1 }), {
      reason: 'PRODUCER_FENCED',
    });
    const next = await broker.openProducer('orders', 'p', { claimId: 8, currentEpoch: 2 });
    assert.equal(next.epoch, 3);
  });

  it('counts and sends back dead letters', async () => {
    const { broker, host } = prompt;
    await broker.createSubscription(
      subscriptionOf('orders', 's', { deadLetter: { maxAttempts: 1, topic: '', isDisabled: false } }),
      earliest,
    );
    await prompt.publish('orders', [{ id: 'a' }, { id: 'b' }, { id: 'c' }]);
    const consumer = await prompt.consume('orders', 's');
    const nack = { kind: 'nack', delayMs: undefined, reason: '' } as never;
    await broker.settle(consumer.session.sessionId, [settlement(0, 2, nack)]);
    await host.storage.quiesce();
    const redrive = async (isDryRun: boolean, limit: number) => {
      let last = {};
      const ended = new Promise<unknown>((resolve) => {
        const options = { topic: 'orders', subscription: 's', isDryRun, limit, ratePerSecond: 0 };
        broker.redrive(options, { progress: (progress) => (last = progress), ended: resolve });
      });
      return [await ended, last];
    };
    assert.deepEqual(await redrive(true, 0), [undefined, { redrivenCount: 3, remainingCount: 0 }]);
    assert.deepEqual(await redrive(true, 2), [undefined, { redrivenCount: 2, remainingCount: 1 }]);
    assert.deepEqual(await redrive(false, 1), [undefined, { redrivenCount: 1, remainingCount: 2 }]);
    assert.deepEqual(await redrive(false, 0), [undefined, { redrivenCount: 2, remainingCount: 0 }]);
    await host.storage.quiesce();
    assert.deepEqual(consumer.offsets, [0, 1, 2, 3, 4, 5]);
    const { statuses } = await broker.getMessage('orders', 0, 4);
    assert.deepEqual(
      statuses.map(({ subscription, state }) => [subscription, state]),
      [['s', 'processing']],
    );
    await broker.createSubscription(subscriptionOf('orders', 'other'), earliest);
    assert.equal(
      (await broker.getMessage('orders', 0, 4)).statuses.length,
      1,
      'only the one that it went to',
    );
    assert.equal((await broker.getMessage('orders', 0, 1)).statuses.length, 2);
    const other = await prompt.consume('orders', 'other');
    assert.deepEqual(other.offsets, [0, 1, 2]);
  });

  it('refuses new work while it closes, and ends what is open', async () => {
    const { broker } = prompt;
    const consumer = await prompt.consume('orders', 's');
    const ends: unknown[] = [];
    const read = { topic: 'orders', partition: undefined, start: earliest, limit: 0, isFollowing: true };
    await broker.read(read, { deliver() {}, ended: (error) => ends.push(error?.reason) });
    const closing = broker.close();
    const draining = { reason: 'DRAINING', details: { retryAfterMs: 1_000 } };
    await assert.rejects(broker.createTopic(topicOf('more')), draining);
    await assert.rejects(broker.updateTopic('orders', {}), draining);
    await assert.rejects(broker.deleteTopic('orders'), draining);
    await assert.rejects(broker.createSubscription(subscriptionOf('orders', 't'), earliest), draining);
    await assert.rejects(broker.updateSubscription('orders', 's', {}), draining);
    await assert.rejects(broker.deleteSubscription('orders', 's'), draining);
    await assert.rejects(broker.seekSubscription('orders', 's', undefined, earliest), draining);
    await assert.rejects(broker.read(read, { deliver() {}, ended() {} }), draining);
    await assert.rejects(prompt.consume('orders', 's'), draining);
    await assert.rejects(prompt.publish('orders', [{}]), draining);
    const claim = broker.openProducer('orders', 'p', { claimId: 1, currentEpoch: undefined });
    await assert.rejects(claim, draining);
    const redrive = { topic: 'orders', subscription: 's', isDryRun: true, limit: 0, ratePerSecond: 0 };
    assert.throws(() => broker.redrive(redrive, { progress() {}, ended() {} }), draining);
    assert.deepEqual(consumer.ends, ['DRAINING']);
    assert.deepEqual(ends, ['DRAINING']);
    await closing;
  });

  it('tells what the server is', () => {
    const { version, maxPartitionCount, defaultDurability, startTimeMs } = prompt.broker.serverInfo();
    assert.deepEqual([version, maxPartitionCount, defaultDurability], ['simulated', 3, 'written']);
    assert.equal(startTimeMs, prompt.host.clock.wallMs());
  });
});
