import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { type ServerDuplexStream, status as StatusCode, type sendUnaryData } from '@grpc/grpc-js';
import { Producer, type ProducerOptions } from '@sluice/client';
import {
  GetProducerResponseSchema,
  GetTopicResponseSchema,
  type OpenProducerRequest,
  OpenProducerResponseSchema,
  type PublishStreamRequest,
  type PublishStreamResponse,
  PublishStreamResponseSchema,
} from '@sluice/client/api';
import { type FakeBroker, startFakeBroker } from '../../../../../test/support/fake-server.js';
import { Inbox } from '../../../../../test/support/inbox.js';

type Stream = ServerDuplexStream<PublishStreamRequest, PublishStreamResponse>;

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('what waits in a producer', () => {
  let broker: FakeBroker;
  let requests: Inbox<{ readonly texts: string[]; answer(): void }>;
  let openings: OpenProducerRequest[];
  let storedCount: number;
  /** So many more streams and calls are refused by something between here and the broker. */
  let refusals: number;
  /** So many more openings lose their answer. */
  let lostAnswers: number;

  beforeEach(async () => {
    requests = new Inbox();
    openings = [];
    storedCount = 0;
    refusals = 0;
    lostAnswers = 0;
    const tooMuch = { code: StatusCode.RESOURCE_EXHAUSTED, details: 'slow down' };
    broker = await startFakeBroker({
      getTopic(_call: unknown, done: sendUnaryData<unknown>) {
        done(null, create(GetTopicResponseSchema, { topic: { partitionCount: 1 } }));
      },
      openProducer({ request }: { request: OpenProducerRequest }, done: sendUnaryData<unknown>) {
        openings.push(request);
        if (refusals > 0) {
          refusals--;
          done(tooMuch);
        } else if (lostAnswers > 0) {
          lostAnswers--;
          done({ code: StatusCode.UNAVAILABLE, details: 'lost' });
        } else {
          done(null, create(OpenProducerResponseSchema, { epoch: 7n, lastSequence: BigInt(storedCount) }));
        }
      },
      getProducer(_call: unknown, done: sendUnaryData<unknown>) {
        done(null, create(GetProducerResponseSchema, { epoch: 7n, lastSequence: BigInt(storedCount) }));
      },
      publishStream(stream: Stream) {
        stream.on('data', ({ batchId, messages }: PublishStreamRequest) => {
          if (refusals > 0) {
            refusals--;
            stream.emit('error', tooMuch);
            return;
          }
          const texts = messages.map(({ payload }) => Buffer.from(payload).toString());
          const answer = () => {
            const firstOffset = BigInt(storedCount);
            storedCount += messages.length;
            const ranges = [{ partition: 0, firstOffset, lastOffset: BigInt(storedCount - 1) }];
            const messageCount = BigInt(messages.length);
            stream.write(create(PublishStreamResponseSchema, { batchId, messageCount, ranges }));
          };
          requests.push({ texts, answer });
        });
        stream.on('error', () => {});
        stream.on('end', () => stream.end());
      },
    });
  });
  afterEach(() => broker.close());

  const open = (options: Partial<ProducerOptions>) =>
    Producer.open(broker.client, { topic: 't', retryMinBackoffMs: 1, retryMaxBackoffMs: 2, ...options });

  it('gathers in as few batches as there can be, whatever the linger', async () => {
    const producer = await open({ lingerMs: 0, maxInFlight: 2, batchMaxMessages: 200 });
    const sent: Promise<unknown>[] = [];
    const underWay: { answer(): void }[] = [];
    for (const text of ['first', 'second']) {
      sent.push(producer.send({ payload: text }));
      const request = await requests.next();
      assert.deepEqual(request.texts, [text]);
      underWay.push(request);
    }
    // Each of them has waited for its linger when the next one comes.
    for (let i = 0; i < 50; i++) {
      for (let j = 0; j < 10; j++) sent.push(producer.send({ payload: `${i * 10 + j}` }));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    for (const { answer } of underWay) answer();
    const sizes: number[] = [];
    const texts: string[] = [];
    while (texts.length < 500) {
      const request = await requests.next();
      sizes.push(request.texts.length);
      texts.push(...request.texts);
      request.answer();
    }
    assert.deepEqual(sizes, [200, 200, 100]);
    assert.deepEqual(
      texts,
      Array.from({ length: 500 }, (_, i) => `${i}`),
    );
    await Promise.all(sent);
    await producer.close();
  });

  it('is flushed with the next free slot', async () => {
    const producer = await open({ lingerMs: 60_000, maxInFlight: 1 });
    const sent = [producer.send({ payload: 'a' })];
    const flushed = producer.flush();
    const first = await requests.next();
    sent.push(producer.send({ payload: 'b' }));
    const closed = producer.close();
    await turn();
    assert.equal(requests.size, 0);
    first.answer();
    await flushed;
    (await requests.next()).answer();
    await closed;
    await Promise.all(sent);
  });

  it('goes on when a proxy has said RESOURCE_EXHAUSTED, of openings and of streams', async () => {
    refusals = 3;
    const producer = await open({ batchMaxMessages: 1 });
    assert.equal(openings.length, 4);
    refusals = 3;
    const sent = ['a', 'b', 'c'].map((payload) => producer.send({ payload }));
    for (const text of ['a', 'b', 'c']) {
      const request = await requests.next();
      assert.deepEqual(request.texts, [text]);
      request.answer();
    }
    await Promise.all(sent);
    await producer.close();
  });

  it('is claimed with one number, however often the answer is lost', async () => {
    lostAnswers = 3;
    const one = await open({});
    const other = await open({});
    const [first, ...repeated] = openings.map(({ claimId }) => claimId);
    const otherId = repeated.pop();
    assert.deepEqual(repeated, [first, first, first]);
    assert.notEqual(otherId, first);
    for (const id of [first, otherId]) assert(id !== undefined && id > 0n && id < 2n ** 53n, `${id}`);
    await one.close();
    await other.close();
  });

  it('fails to open within the time of a message, and says that a broker is too old', async () => {
    refusals = Number.POSITIVE_INFINITY;
    await assert.rejects(open({ retryTimeoutMs: 50 }), { reason: 'RESOURCE_EXHAUSTED' });
    await broker.close();
    broker = await startFakeBroker({ getTopic() {} });
    await assert.rejects(open({}), { reason: 'UNIMPLEMENTED', message: /OpenProducer.*update the broker/ });
  });
});
