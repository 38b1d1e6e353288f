import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRandom } from '../../../src/base/random.js';
import { minuteMs, secondMs } from '../../../src/base/units.js';
import type { Broker } from '../../../src/broker/types.js';
import { Host } from '../../simulation/host.js';
import { encodeBatch } from '../../simulation/messages.js';
import { contextOf } from '../../support/call-context.js';

const subscription = {
  topic: 'queue',
  ordering: 'partition',
  ackDeadlineMs: minuteMs,
  minBackoffMs: 100,
  maxBackoffMs: 400,
  deadLetter: { maxAttempts: 5, topic: '', isDisabled: false },
} as const;

/** What happens while the store has not answered: races that on a fast disk are won nearly always. */
describe('the broker on a store that takes its time', () => {
  let directory: string;
  let host: Host;
  let broker: Broker;
  const failures: unknown[] = [];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-slow-'));
    failures.length = 0;
    const watcher = { submitted() {}, committed() {}, recovered() {}, removing() {}, lookedUp() {} };
    const random = createRandom(1);
    host = new Host({ directory, random, chance: 0, watcher, failed: (error) => failures.push(error) });
    await host.start();
    broker = host.broker;
    const limits = { maxAgeMs: 0, maxBytes: 0, dropUnacknowledged: false };
    await answered(
      broker.createTopic({
        name: 'queue',
        partitionCount: 1,
        retention: { ...limits, untilAcknowledged: true },
        backlogLimit: { maxBytes: 0, maxMessages: 0, whenFull: 'block' },
        durability: 'written',
      }),
    );
  });
  afterEach(async () => {
    await host.stop();
    await rm(directory, { recursive: true });
    assert.deepEqual(failures, []);
  });

  /** Answers all commits until this one comes; other calls stay held. */
  async function answered<T>(result: Promise<T>): Promise<T> {
    let isDone = false;
    const done = result.finally(() => {
      isDone = true;
    });
    done.catch(() => {});
    for (await host.storage.quiesce(); !isDone; await host.storage.quiesce()) {
      assert.ok(host.storage.heldRoundCount > 0, 'an answer that no commit brings');
      host.storage.answerRound();
    }
    return done;
  }

  async function publish(ids: readonly string[], topic = 'queue'): Promise<void> {
    const drafts = ids.map((id) => ({ id, key: '', padding: 0 }));
    const batch = { topic, partition: undefined, producer: undefined, ...encodeBatch(drafts) };
    await answered(
      new Promise<void>((resolve) => broker.openPublisher(contextOf('test')).publish(batch, () => resolve())),
    );
  }

  /** The next store reads every message from the disk. */
  async function restart(): Promise<void> {
    host.crash();
    await host.start();
    broker = host.broker;
  }

  async function subscribe(name: string): Promise<{ sessionId: string; offsets: number[] }> {
    const offsets: number[] = [];
    const start = { kind: 'earliest' } as const;
    const options = {
      topic: 'queue',
      subscription: name,
      consumerId: name,
      context: contextOf('test'),
      credit: {},
      start,
    };
    const opening = broker.subscribe(options, {
      deliver(runs) {
        for (const { run, from, to } of runs) {
          for (let i = from; i < to; i += 1) offsets.push(run.firstOffset + i);
        }
      },
      assigned() {},
      revoked() {},
      heartbeat() {},
      ended: (error) => failures.push(error),
    });
    const session = await answered(opening);
    session.start();
    await host.storage.quiesce();
    return { sessionId: session.sessionId, offsets };
  }

  /** Two messages that every subscription has settled, and their removal under way. */
  async function beginRemoval(): Promise<void> {
    await answered(broker.createSubscription({ ...subscription, name: 'first' }, { kind: 'earliest' }));
    await publish(['one', 'two']);
    host.storage.isPrompt = true;
    const { sessionId } = await subscribe('first');
    await broker.settle(sessionId, [{ partition: 0, first: 0, last: 1, outcome: { kind: 'ack' } }]);
    host.storage.isPrompt = false;
    host.clock.advance(2 * secondMs);
    await host.storage.quiesce();
    assert.equal(host.storage.heldCallCount, 1, 'the removal is under way');
  }

  async function endRemoval(): Promise<void> {
    host.storage.isPrompt = true;
    host.storage.answerCall(0);
    await publish(['three']);
    await host.storage.quiesce();
  }

  it('starts no subscription where retention has begun to remove', async () => {
    await beginRemoval();
    const { offsets } = await subscribe('second');
    assert.deepEqual(offsets, []);
    await endRemoval();
    assert.deepEqual(offsets, [2]);
    assert.equal(broker.getSubscription('queue', 'second').partitions[0]?.backlogMessageCount, 1);
  });

  it('seeks to nothing that retention has begun to remove', async () => {
    await beginRemoval();
    await answered(broker.seekSubscription('queue', 'first', undefined, { kind: 'earliest' }));
    assert.equal(broker.getSubscription('queue', 'first').partitions[0]?.acknowledgedOffset, 2);
    const before = broker.seekSubscription('queue', 'first', 0, { kind: 'offset', offset: 1 });
    await assert.rejects(before, { reason: 'OFFSET_OUT_OF_RANGE' });
    await endRemoval();
  });

  it('answers for a subscription that it created, also when another call has changed it since', async () => {
    const input = { ...subscription, name: 'changed' };
    const creation = broker.createSubscription(input, { kind: 'earliest' });
    await host.storage.quiesce();
    const change = broker.updateSubscription('queue', 'changed', { ackDeadlineMs: 5 * secondMs });
    assert.equal((await answered(creation)).config.ackDeadlineMs, 5 * secondMs);
    await answered(change);
    const again = answered(broker.createSubscription(input, { kind: 'earliest' }));
    await assert.rejects(again, { reason: 'SUBSCRIPTION_EXISTS' });
  });

  const topicNotFound = { reason: 'TOPIC_NOT_FOUND', message: 'there is no topic "queue"' };
  const anyTime = { kind: 'time', timeMs: 0 } as const;

  it('seeks no subscription that was deleted while the position was looked up', async () => {
    await answered(broker.createSubscription({ ...subscription, name: 's' }, { kind: 'earliest' }));
    const seek = broker.seekSubscription('queue', 's', undefined, anyTime);
    assert.equal(host.storage.heldCallCount, 1, 'the lookup is under way');
    await answered(broker.deleteSubscription('queue', 's'));
    host.storage.answerCall(0);
    await assert.rejects(answered(seek), {
      reason: 'SUBSCRIPTION_NOT_FOUND',
      message: 'topic "queue" has no subscription "s"',
    });
  });

  it('names the topic that was deleted while a position was looked up', async () => {
    await answered(broker.updateTopic('queue', { partitionCount: 2 }));
    await answered(broker.createSubscription({ ...subscription, name: 's' }, { kind: 'earliest' }));
    const sink = { deliver() {}, ended() {} };
    const read = { topic: 'queue', partition: undefined, start: anyTime, limit: 0, isFollowing: false };
    const calls = [
      broker.seekSubscription('queue', 's', undefined, anyTime),
      broker.createSubscription({ ...subscription, name: 'other' }, anyTime),
      broker.read(read, sink),
    ];
    assert.equal(host.storage.heldCallCount, calls.length, 'the lookups are under way');
    await answered(broker.deleteTopic('queue'));
    for (const call of calls) {
      host.storage.answerCall(0);
      await assert.rejects(call, topicNotFound);
    }
  });

  it('names the topic that was deleted before it was created or changed', async () => {
    const update = broker.updateTopic('queue', { partitionCount: 2 });
    const { config } = broker.getTopic('queue');
    const creation = broker.createTopic(config);
    const deletion = broker.deleteTopic('queue');
    const refused = [assert.rejects(update, topicNotFound), assert.rejects(creation, topicNotFound)];
    await answered(deletion);
    await Promise.all(refused);
  });

  it('names the topic that was deleted while one of its messages was read', async () => {
    await publish(['one']);
    await restart();
    const reading = broker.getMessage('queue', 0, 0);
    assert.equal(host.storage.heldCallCount, 1, 'the read is under way');
    await answered(broker.deleteTopic('queue'));
    host.storage.answerCall(0);
    await assert.rejects(reading, topicNotFound);
  });

  it('closes the scan of a redrive that ends while the disk is read', async () => {
    const deadLetter = { ...subscription.deadLetter, topic: 'failed' };
    await answered(
      broker.createSubscription({ ...subscription, name: 's', deadLetter }, { kind: 'earliest' }),
    );
    await publish(['one'], 'failed');
    await restart();
    let closeCount = 0;
    const openReader = host.storage.openReader.bind(host.storage);
    host.storage.openReader = (...partition) => {
      const { read, close } = openReader(...partition);
      return {
        read,
        close: () => {
          closeCount += 1;
          close();
        },
      };
    };
    const options = { topic: 'queue', subscription: 's', isDryRun: true, limit: 0, ratePerSecond: 0 };
    const session = broker.redrive(options, { progress() {}, ended: (error) => failures.push(error) });
    for (await host.storage.quiesce(); host.storage.heldCallCount === 0; await host.storage.quiesce()) {
      assert.ok(host.storage.heldRoundCount > 0, 'the redrive reads nothing');
      host.storage.answerRound();
    }
    assert.equal(closeCount, 0);
    session.close();
    assert.equal(closeCount, 1);
    host.storage.answerCall(0);
    await host.storage.quiesce();
  });
});
