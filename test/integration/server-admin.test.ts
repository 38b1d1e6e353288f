import assert from 'node:assert/strict';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type ServiceError, status } from '@grpc/grpc-js';
import { SluiceError } from '../../src/base/errors.js';
import {
  Admin,
  BacklogLimit_WhenFull,
  Consumer_WaitReason,
  Ordering,
} from '../../src/gen/sluice/v1/admin_pb.js';
import { Durability, StartPosition_Boundary } from '../../src/gen/sluice/v1/message_pb.js';
import { FakeBroker } from '../support/fake-broker.js';
import {
  callUnary,
  failureOf,
  type Harness,
  receivedError,
  recordingLogger,
  startHarness,
  TestStream,
} from '../support/grpc-harness.js';

const { method } = Admin;

describe('Admin', () => {
  let broker: FakeBroker;
  let harness: Harness;
  const logger = recordingLogger();

  beforeEach(async () => {
    broker = new FakeBroker();
    harness = await startHarness(broker, {}, logger);
  });
  afterEach(() => harness.close());

  it('creates, shows, lists, changes and deletes topics', async () => {
    const { client } = harness;
    const { topic } = await callUnary(client, method.createTopic, {
      topic: { name: 'orders', partitionCount: 3 },
    });
    assert.equal(topic?.partitionCount, 3);
    assert.equal(topic?.backlogLimit?.whenFull, BacklogLimit_WhenFull.BLOCK);
    assert.deepEqual([topic?.createTime?.seconds, topic?.createTime?.nanos], [1_700_000_000n, 123_000_000]);
    const [partition] = topic?.partitions ?? [];
    assert.deepEqual([partition?.firstOffset, partition?.nextOffset, partition?.bytes], [1n, 5n, 77n]);
    assert.deepEqual((await callUnary(client, method.getTopic, { name: 'orders' })).topic, topic);
    const list = await callUnary(client, method.listTopics, { pageSize: 7, pageToken: 'next' });
    assert.deepEqual([list.topics, list.nextPageToken], [[topic], 'next+7']);
    const change = { topic: { name: 'orders', durability: Durability.WRITTEN } };
    await callUnary(client, method.updateTopic, change);
    assert.deepEqual(broker.topicChanges, [{ durability: 'written' }]);
    await callUnary(client, method.deleteTopic, { name: 'orders' });
    const gone = await failureOf(callUnary(client, method.getTopic, { name: 'orders' }));
    assert.equal(gone.error.reason, 'TOPIC_NOT_FOUND');
  });

  it('creates, shows, lists, changes, seeks and deletes subscriptions', async () => {
    const { client } = harness;
    const names = { topic: 'orders', name: 'billing' };
    const created = await callUnary(client, method.createSubscription, { subscription: names });
    assert.equal(created.subscription?.ordering, Ordering.PARTITION);
    const { subscription } = await callUnary(client, method.getSubscription, names);
    assert.deepEqual(subscription, created.subscription);
    const list = await callUnary(client, method.listSubscriptions, {});
    assert.deepEqual([list.subscriptions, list.nextPageToken], [[subscription], '+0']);
    const ackDeadline = { seconds: 7n };
    await callUnary(client, method.updateSubscription, { subscription: { ...names, ackDeadline } });
    assert.deepEqual(broker.subscriptionChanges, [{ ackDeadlineMs: 7000 }]);
    const boundary = { case: 'boundary', value: StartPosition_Boundary.LATEST } as const;
    await callUnary(client, method.seekSubscription, {
      ...names,
      partition: 2,
      position: { position: boundary },
    });
    assert.deepEqual(broker.seeks, [{ partition: 2, position: { kind: 'latest' } }]);
    const nowhere = await failureOf(callUnary(client, method.seekSubscription, names));
    assert.equal(nowhere.error.details.field, 'position');
    await callUnary(client, method.deleteSubscription, names);
    const gone = await failureOf(callUnary(client, method.getSubscription, names));
    assert.equal(gone.error.reason, 'SUBSCRIPTION_NOT_FOUND');
  });

  it('shows consumers and the server', async () => {
    const { consumers } = await callUnary(harness.client, method.listConsumers, {});
    assert.equal(consumers[0]?.waitReason, Consumer_WaitReason.TRANSPORT);
    assert.deepEqual(consumers[0]?.partitions, [0, 3]);
    const info = await callUnary(harness.client, method.getServerInfo, {});
    assert.deepEqual([info.version, info.defaultDurability], ['1.2.3', Durability.SYNCED]);
  });

  it('names the field of a request that makes no sense', async () => {
    const call = callUnary(harness.client, method.createTopic, { topic: { name: 'größe' } });
    const { error } = await failureOf(call);
    assert.deepEqual([error.reason, error.details.field], ['INVALID_NAME', 'topic.name']);
    assert.match(error.message, /größe/);
  });

  it('refuses bytes that are no request', async () => {
    const call = new Promise((_resolve, reject) => {
      harness.client.makeUnaryRequest(
        '/sluice.v1.Admin/GetTopic',
        () => Buffer.of(0x0a, 0x7f),
        (bytes) => bytes,
        {},
        (error) => reject(error),
      );
    });
    assert.equal((await failureOf(call)).error.reason, 'MALFORMED_REQUEST');
  });

  it('keeps a fault of its own to itself, and logs it', async () => {
    const { error } = await failureOf(callUnary(harness.client, method.getMessage, { topic: 't' }));
    assert.equal(error.reason, 'INTERNAL');
    assert(!error.message.includes('no client may see'));
    const [logged] = logger.errors.splice(0);
    assert(logged !== undefined && 'error' in logged.fields && logged.fields.error instanceof TypeError);
  });

  const redrive = (request: MessageInitShape<typeof method.redriveDeadLetters.input>) => {
    const stream = new TestStream(harness.client, method.redriveDeadLetters);
    stream.send(request);
    stream.halfClose();
    return stream;
  };

  it('redrives, and says how far it is up to the end', async () => {
    const stream = redrive({ topic: 't', subscription: 's', dryRun: true, limit: 2n ** 64n - 1n, rate: 0.5 });
    const { options, sink } = await broker.redrives.next();
    assert.deepEqual(options, {
      topic: 't',
      subscription: 's',
      isDryRun: true,
      limit: Number.MAX_SAFE_INTEGER,
      ratePerSecond: 0.5,
    });
    sink.progress({ redrivenCount: 0, remainingCount: 5 });
    // Before the first has left: only the latest is worth sending.
    sink.progress({ redrivenCount: 1, remainingCount: 4 });
    sink.progress({ redrivenCount: 5, remainingCount: 0 });
    sink.ended(undefined);
    assert.equal((await stream.status).code, status.OK);
    const counts = (await stream.responses.take(2)).map((each) => [each.redrivenCount, each.remainingCount]);
    assert.deepEqual(counts, [
      [0n, 5n],
      [5n, 0n],
    ]);
    assert.equal(stream.responses.size, 0);
  });

  it('stops a redrive that fails, or whose client leaves', async () => {
    const failing = redrive({ topic: 't', subscription: 's' });
    const failed = await broker.redrives.next();
    failed.sink.ended(new SluiceError('TOPIC_DELETED', 'gone'));
    assert.equal(receivedError(await failing.status).error.reason, 'TOPIC_DELETED');
    await failed.closed;
    const leaving = redrive({ topic: 't', subscription: 's' });
    const left = await broker.redrives.next();
    leaving.cancel();
    await left.closed;
  });

  it('refuses a redrive of nothing', async () => {
    const missing = receivedError(await redrive({ topic: 't', subscription: 'missing' }).status);
    assert.equal(missing.error.reason, 'SUBSCRIPTION_NOT_FOUND');
  });

  it('says what it can not do', async () => {
    const unknown = new Promise<ServiceError | null>((resolve) => {
      const bytes = (value: Buffer) => value;
      harness.client.makeUnaryRequest('/sluice.v1.Admin/Nothing', bytes, bytes, Buffer.alloc(0), resolve);
    });
    assert.equal((await unknown)?.code, status.UNIMPLEMENTED);
  });
});
