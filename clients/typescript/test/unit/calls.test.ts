import assert from 'node:assert/strict';
import { once } from 'node:events';
import { create, type DescMessage, type Message, toBinary } from '@bufbuild/protobuf';
import { anyPack, durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  Metadata,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { connect, SluiceError, StatusCode } from '@sluice/client';
import {
  ErrorInfoSchema,
  GetTopicResponseSchema,
  PublishFailureSchema,
  type PublishRequest,
  type PublishResponse,
  PublishResponseSchema,
  type PublishStreamRequest,
  type PublishStreamResponse,
  PublishStreamResponseSchema,
  type ReadRequest,
  type ReadResponse,
  ReadResponseSchema,
  RetryInfoSchema,
  StatusSchema,
} from '@sluice/client/api';
import { type FakeBroker, startFakeBroker } from '../../../../test/support/fake-server.js';

/** What a server sends for a refusal in the standard error model. */
function refusal(code: number, reason: string, ...details: [DescMessage, Message][]) {
  const metadata = new Metadata();
  const info = anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, metadata: { topic: 'orders' } }));
  const status = create(StatusSchema, {
    code,
    details: [info, ...details.map(([schema, message]) => anyPack(schema, message))],
  });
  metadata.set('grpc-status-details-bin', Buffer.from(toBinary(StatusSchema, status)));
  return Object.assign(new Error('refused'), { code, details: 'no such topic', metadata });
}

describe('client calls', () => {
  let broker: FakeBroker;
  afterEach(() => broker.close());

  it('answers a unary call and sends metadata', async () => {
    const seen: unknown[] = [];
    broker = await startFakeBroker({
      getTopic(call: { request: { name: string }; metadata: Metadata }, done: sendUnaryData<unknown>) {
        seen.push(call.metadata.get('x-from')[0], call.metadata.get('x-call')[0]);
        done(null, create(GetTopicResponseSchema, { topic: { name: call.request.name } }));
      },
    });
    const client = connect(broker.target, { metadata: { 'x-from': 'test' } });
    const response = await client.admin.getTopic({ name: 'orders' }, { metadata: { 'x-call': 'one' } });
    client.close();
    assert.equal(response.topic?.name, 'orders');
    assert.deepEqual(seen, ['test', 'one']);
  });

  it('asks for metadata before each call, and fails the call for which there is none', async () => {
    const seen: unknown[] = [];
    broker = await startFakeBroker({
      getTopic(call: { metadata: Metadata }, done: sendUnaryData<unknown>) {
        seen.push(call.metadata.get('authorization')[0]);
        done(null, create(GetTopicResponseSchema, {}));
      },
    });
    let issued = 0;
    const metadata = async () => {
      issued++;
      if (issued > 2) throw new Error('no token left');
      return { authorization: `Bearer ${issued}` };
    };
    const client = connect(broker.target, { metadata });
    await client.admin.getTopic({ name: 'orders' });
    await client.admin.getTopic({ name: 'orders' });
    await assert.rejects(client.admin.getTopic({ name: 'orders' }), /no token left/);
    client.close();
    assert.deepEqual(seen, ['Bearer 1', 'Bearer 2']);
  });

  it('fails with DEADLINE_EXCEEDED a call that takes too long', async () => {
    broker = await startFakeBroker({ getTopic() {} });
    const late = broker.client.admin.getTopic({ name: 'orders' }, { timeoutMs: 50 });
    await assert.rejects(late, { code: StatusCode.DEADLINE_EXCEEDED, reason: 'DEADLINE_EXCEEDED' });
  });

  it('throws the reason, the facts and the delay of a refusal', async () => {
    broker = await startFakeBroker({
      getTopic(_call: unknown, done: sendUnaryData<unknown>) {
        const retry = create(RetryInfoSchema, { retryDelay: durationFromMs(1500) });
        done(refusal(StatusCode.NOT_FOUND, 'TOPIC_NOT_FOUND', [RetryInfoSchema, retry]));
      },
    });
    await assert.rejects(broker.client.admin.getTopic({ name: 'orders' }), (error) => {
      assert(error instanceof SluiceError);
      assert.equal(error.code, StatusCode.NOT_FOUND);
      assert.equal(error.reason, 'TOPIC_NOT_FOUND');
      assert.equal(error.message, 'no such topic');
      assert.deepEqual({ ...error.metadata }, { topic: 'orders' });
      assert.equal(error.retryAfterMs, 1500);
      return true;
    });
  });

  it('names what it cannot reach UNAVAILABLE', async () => {
    broker = await startFakeBroker({ getTopic() {} });
    await broker.close();
    const client = connect(broker.target);
    await assert.rejects(client.admin.getServerInfo({}), {
      code: StatusCode.UNAVAILABLE,
      reason: 'UNAVAILABLE',
    });
    client.close();
  });

  it('cancels a call by its signal', async () => {
    const abort = new AbortController();
    broker = await startFakeBroker({ getTopic: () => abort.abort() });
    const call = broker.client.admin.getTopic({ name: 'orders' }, { signal: abort.signal });
    await assert.rejects(call, { code: StatusCode.CANCELLED });
  });

  it('yields everything that came before a failure, then throws it', async () => {
    broker = await startFakeBroker({
      read(call: ServerWritableStream<ReadRequest, ReadResponse>) {
        for (let partition = 0; partition < 40; partition++) {
          call.write(create(ReadResponseSchema, { runs: [{ partition }] }));
        }
        call.emit('error', refusal(StatusCode.DATA_LOSS, 'DATA_LOSS'));
      },
    });
    const partitions: (number | undefined)[] = [];
    await assert.rejects(
      async () => {
        for await (const response of broker.client.broker.read({ topic: 'orders' })) {
          partitions.push(response.runs[0]?.partition);
        }
      },
      { reason: 'DATA_LOSS' },
    );
    assert.deepEqual(
      partitions,
      Array.from({ length: 40 }, (_, i) => i),
    );
  });

  it('keeps a failure for a reader that comes late', async () => {
    broker = await startFakeBroker({
      read(call: ServerWritableStream<ReadRequest, ReadResponse>) {
        call.emit('error', refusal(StatusCode.NOT_FOUND, 'TOPIC_NOT_FOUND'));
      },
      getTopic(_call: unknown, done: sendUnaryData<unknown>) {
        done(null, create(GetTopicResponseSchema, {}));
      },
    });
    const stream = broker.client.broker.read({ topic: 'orders' });
    // A round trip on the same connection: the refusal has arrived by then.
    await broker.client.admin.getTopic({});
    await assert.rejects(
      async () => {
        for await (const _ of stream);
      },
      { reason: 'TOPIC_NOT_FOUND' },
    );
  });

  it('stops the sender when the client does not read, and cancels when the loop is left', async () => {
    const payload = Buffer.alloc(256 * 1024);
    const offered = 400;
    let sentCount = 0;
    let cancelled: Promise<unknown> | undefined;
    broker = await startFakeBroker({
      read(call: ServerWritableStream<ReadRequest, ReadResponse>) {
        cancelled = once(call, 'cancelled');
        const response = create(ReadResponseSchema, { runs: [{ messages: [{ payload }] }] });
        const send = () => {
          if (sentCount < offered) call.write(response, send);
          sentCount++;
        };
        send();
      },
      getTopic(_call: unknown, done: sendUnaryData<unknown>) {
        done(null, create(GetTopicResponseSchema, {}));
      },
    });
    const iterator = broker.client.broker.read({ topic: 'orders' })[Symbol.asyncIterator]();
    await iterator.next();
    // The sender has stopped when it gets nowhere while the connection goes round 20 times.
    for (let before = -1, quietRounds = 0; quietRounds < 20; before = sentCount) {
      await broker.client.admin.getTopic({});
      quietRounds = sentCount === before ? quietRounds + 1 : 0;
    }
    assert(sentCount < 64, `${sentCount} responses were sent to a client that does not read`);
    await iterator.return?.();
    await cancelled;
  });

  it('makes a writer wait while the broker does not read, and loses nothing', async () => {
    const received: number[] = [];
    let resume: (() => void) | undefined;
    broker = await startFakeBroker({
      publish(
        call: ServerReadableStream<PublishRequest, PublishResponse>,
        done: sendUnaryData<PublishResponse>,
      ) {
        resume = () => {
          call.on('data', (request: PublishRequest) => received.push(request.partition ?? -1));
          call.on('end', () =>
            done(null, create(PublishResponseSchema, { messageCount: BigInt(received.length) })),
          );
        };
      },
      getTopic(_call: unknown, done: sendUnaryData<unknown>) {
        done(null, create(GetTopicResponseSchema, {}));
      },
    });
    const call = broker.client.broker.publish();
    const payload = Buffer.alloc(256 * 1024);
    const writes = Array.from({ length: 30 }, (_, partition) => {
      let isDone = false;
      const write = call.write({ partition, messages: [{ payload }] }).then(() => {
        isDone = true;
      });
      return { write, isDone: () => isDone };
    });
    await broker.client.admin.getTopic({});
    assert.equal(writes.at(-1)?.isDone(), false);
    resume?.();
    await Promise.all(writes.map(({ write }) => write));
    call.end();
    assert.equal((await call.result).messageCount, 30n);
    assert.deepEqual(
      received,
      Array.from({ length: 30 }, (_, i) => i),
    );
  });

  it('tells writers and the result of a failed stream, with what is durable', async () => {
    broker = await startFakeBroker({
      publish(
        call: ServerReadableStream<PublishRequest, PublishResponse>,
        done: sendUnaryData<PublishResponse>,
      ) {
        call.once('data', () => {
          call.pause();
          const failure = create(PublishFailureSchema, { durableRequestCount: 7n });
          done(refusal(StatusCode.RESOURCE_EXHAUSTED, 'BACKLOG_FULL', [PublishFailureSchema, failure]));
        });
      },
    });
    const call = broker.client.broker.publish();
    const payload = Buffer.alloc(1024 * 1024);
    await assert.rejects(
      async () => {
        for (;;) await call.write({ messages: [{ payload }] });
      },
      { reason: 'BACKLOG_FULL' },
    );
    await assert.rejects(call.result, (error) => {
      assert(error instanceof SluiceError);
      assert.equal(error.details.publishFailure?.durableRequestCount, 7n);
      return true;
    });
  });

  it('reads and writes one stream at once', async () => {
    broker = await startFakeBroker({
      publishStream(call: ServerDuplexStream<PublishStreamRequest, PublishStreamResponse>) {
        call.on('data', ({ batchId }: PublishStreamRequest) =>
          call.write(create(PublishStreamResponseSchema, { batchId })),
        );
        call.on('end', () => call.end());
      },
    });
    const call = broker.client.broker.publishStream();
    for (let batchId = 0n; batchId < 100n; batchId++) await call.write({ batchId });
    call.end();
    const answered: bigint[] = [];
    for await (const { batchId } of call) answered.push(batchId);
    assert.deepEqual(
      answered,
      Array.from({ length: 100 }, (_, i) => BigInt(i)),
    );
    await assert.rejects(call.write({}), { reason: 'CALL_ENDED' });
  });
});
