import assert from 'node:assert/strict';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { anyPack, durationFromMs } from '@bufbuild/protobuf/wkt';
import { Metadata, type ServerDuplexStream, type sendUnaryData } from '@grpc/grpc-js';
import { Consumer, StatusCode } from '@sluice/client';
import {
  type ConsumeRequest,
  type ConsumeResponse,
  ConsumeResponseSchema,
  ErrorInfoSchema,
  GetSubscriptionResponseSchema,
  Ordering,
  StatusSchema,
} from '@sluice/client/api';
import { type FakeBroker, startFakeBroker } from '../../../../../test/support/fake-server.js';
import { Inbox } from '../../../../../test/support/inbox.js';

type Stream = ServerDuplexStream<ConsumeRequest, ConsumeResponse>;

/** The broker's end of one Consume stream. */
class Session {
  readonly requests = new Inbox<ConsumeRequest>();
  readonly left: Promise<void>;
  readonly #stream: Stream;

  constructor(stream: Stream) {
    this.#stream = stream;
    stream.on('data', (request: ConsumeRequest) => this.requests.push(request));
    stream.on('error', () => {});
    this.left = new Promise((resolve) => stream.on('end', resolve));
  }

  say(response: MessageInitShape<typeof ConsumeResponseSchema>): void {
    this.#stream.write(create(ConsumeResponseSchema, response));
  }

  deliver(firstOffset: number, texts: readonly string[], attempt = 1): void {
    const messages = texts.map((text) => ({ payload: Buffer.from(text) }));
    this.say({ runs: [{ partition: 0, firstOffset: BigInt(firstOffset), attempt, messages }] });
  }

  /** The next request that is no change of credit. */
  async settlement(): Promise<ConsumeRequest> {
    for (;;) {
      const request = await this.requests.next();
      if (request.settlements.length > 0) return request;
    }
  }

  end(): void {
    this.#stream.end();
  }

  fail(code: number, reason: string): void {
    const metadata = new Metadata();
    const info = anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason }));
    const status = toBinary(StatusSchema, create(StatusSchema, { code, details: [info] }));
    metadata.set('grpc-status-details-bin', Buffer.from(status));
    this.#stream.emit('error', Object.assign(new Error(reason), { code, details: reason, metadata }));
  }

  /** As something between the broker and the client would. */
  failBare(code: number): void {
    this.#stream.emit('error', Object.assign(new Error('no more'), { code, details: 'no more' }));
  }
}

describe('Consumer', () => {
  let broker: FakeBroker;
  let sessions: Inbox<Session>;
  let openedCount: number;
  let ackDeadlineMs: number;
  beforeEach(async () => {
    ackDeadlineMs = 3_600_000;
    sessions = new Inbox();
    openedCount = 0;
    broker = await startFakeBroker({
      consume(stream: Stream) {
        const session = new Session(stream);
        session.say({
          opened: { sessionId: `session-${++openedCount}`, ackDeadline: durationFromMs(ackDeadlineMs) },
        });
        sessions.push(session);
      },
      getSubscription(_call: unknown, done: sendUnaryData<unknown>) {
        done(null, create(GetSubscriptionResponseSchema, { subscription: { ordering: Ordering.PARTITION } }));
      },
    });
  });
  afterEach(() => broker.close());

  const options = { topic: 'orders', subscription: 's', retryMinBackoffMs: 1, retryMaxBackoffMs: 2 };

  it('drops what is taken back, tells the caller that has it, and holds the rest behind a nack', async () => {
    const consumer = new Consumer(broker.client, options);
    const seen: string[] = [];
    const iterator = consumer[Symbol.asyncIterator]();
    const next = async () => {
      const { value } = await iterator.next();
      seen.push(`${value!.payload} ${value!.attempt}`);
      return value!;
    };
    const begun = next();
    const session = await sessions.next();
    session.deliver(0, ['a', 'b', 'c', 'd']);
    const a = await begun;
    const b = await next();
    const { signal } = b;
    const nacked = a.nack({ delayMs: 1 });
    const { settlementId } = await session.settlement();
    const waiting = next();
    session.say({ revoked: [{ partition: 0, firstOffset: 1n, lastOffset: 2n }] });
    session.deliver(0, ['a'], 2);
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    assert.equal(await b.ack(), false);
    assert.deepEqual(seen, ['a 1', 'b 1'], 'nothing before the answer');
    session.say({ settled: { settlementId, result: {} } });
    assert.equal(await nacked, true);
    await waiting;
    await next();
    assert.deepEqual(seen, ['a 1', 'b 1', 'd 1', 'a 2'], 'd was not taken back');
    const returned = iterator.return?.();
    await session.left;
    session.end();
    await returned;
  });

  it('opens another session where that helps, with what it has settled in vain reported as that', async () => {
    const consumer = new Consumer(broker.client, options);
    const results: Promise<boolean>[] = [];
    const running = consumer.run((delivery) => {
      results.push(delivery.ack());
    });
    const ends: ((session: Session) => void)[] = [
      (session) => session.end(),
      (session) => session.fail(StatusCode.NOT_FOUND, 'SESSION_NOT_FOUND'),
      (session) => session.fail(StatusCode.ABORTED, 'SESSION_CLOSED'),
      (session) => session.fail(StatusCode.UNAVAILABLE, 'DRAINING'),
      (session) => session.fail(StatusCode.DATA_LOSS, 'DATA_LOSS'),
      (session) => session.failBare(StatusCode.RESOURCE_EXHAUSTED),
    ];
    for (const end of ends) {
      const session = await sessions.next();
      const { subscribe } = await session.requests.next();
      assert.equal(subscribe?.topic, 'orders');
      session.deliver(0, ['m']);
      await session.settlement();
      end(session);
    }
    const last = await sessions.next();
    const messages = ['m', 'n'].map((text) => ({ payload: Buffer.from(text) }));
    last.say({ runs: [{ partition: 0, firstOffset: 7n, attempt: 1, deliveryId: 1_000n, messages }] });
    const { settlementId, settlements, lastDeliveryId } = await last.settlement();
    assert.equal(settlements[0]?.offsets?.lastOffset, 8n);
    assert.equal(lastDeliveryId, 1_000n);
    const stale = [{ partition: 0, firstOffset: 7n, lastOffset: 7n }];
    last.say({ settled: { settlementId, result: { stale } } });
    assert.deepEqual(await Promise.all(results), [...ends.map(() => false), false, true]);
    const closed = consumer.close();
    await last.left;
    last.end();
    await Promise.all([closed, running]);
    assert.equal(openedCount, ends.length + 1);
  });

  for (const [code, reason] of [
    [StatusCode.NOT_FOUND, 'TOPIC_NOT_FOUND'],
    [StatusCode.FAILED_PRECONDITION, 'SUBSCRIPTION_DELETED'],
    [StatusCode.INVALID_ARGUMENT, 'INVALID_FIELD'],
    [StatusCode.PERMISSION_DENIED, 'PERMISSION_DENIED'],
    [StatusCode.UNAUTHENTICATED, 'UNAUTHENTICATED'],
    [StatusCode.UNIMPLEMENTED, 'UNIMPLEMENTED'],
  ] as const) {
    it(`ends with ${reason}, run or iterated`, async () => {
      const running = new Consumer(broker.client, options).run(() => {});
      const ended = assert.rejects(running, { code, reason });
      (await sessions.next()).fail(code, reason);
      await ended;
      const iterator = new Consumer(broker.client, options)[Symbol.asyncIterator]();
      const next = assert.rejects(iterator.next(), { code, reason });
      (await sessions.next()).fail(code, reason);
      await next;
      await iterator.return?.();
    });
  }

  it('ends when its client is closed, and takes no settings that are none', async () => {
    const consumer = new Consumer(broker.client, options);
    const ended = assert.rejects(
      consumer.run(() => {}),
      { reason: 'CLIENT_CLOSED' },
    );
    const session = await sessions.next();
    broker.client.close();
    session.end();
    await ended;
    assert.throws(() => new Consumer(broker.client, { ...options, maxOutstandingBytes: 1.5 }));
    assert.throws(() => new Consumer(broker.client, { ...options, start: { time: new Date(Number.NaN) } }));
  });

  it('keeps what it holds leased while it closes, and waits for the answers', async () => {
    ackDeadlineMs = 60;
    const consumer = new Consumer(broker.client, options);
    const begun = new Inbox<() => void>();
    const running = consumer.run(() => new Promise<void>((resolve) => begun.push(resolve)));
    const session = await sessions.next();
    session.deliver(0, ['a', 'b', 'c']);
    const open = await begun.next();
    let isClosed = false;
    const closed = consumer.close().then(() => {
      isClosed = true;
    });
    while ((await session.requests.next()).flowControl?.maxOutstandingMessages !== 0);
    const settled = async (outcome: string) => {
      for (;;) {
        const { settlementId, settlements } = await session.settlement();
        session.say({ settled: { settlementId, result: {} } });
        const [first] = settlements;
        if (first?.outcome.case === outcome) return [first.offsets?.firstOffset, first.offsets?.lastOffset];
      }
    };
    assert.deepEqual(await settled('extend'), [0n, 2n]);
    assert.equal(isClosed, false);
    open();
    assert.deepEqual(await settled('ack'), [0n, 0n]);
    await session.left;
    session.end();
    await Promise.all([closed, running]);
    assert.equal(begun.size, 0, 'nothing else was begun');
  });

  it('says its credit again once it can take more after messages were taken back, run or iterated', async () => {
    const begun = new Inbox<string>();
    const ran = new Consumer(broker.client, options);
    const iterated = new Consumer(broker.client, options);
    const ends = [
      ran.run(async ({ signal }) => {
        begun.push('handler');
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      }),
    ];
    const check = async (session: Session, lost: Promise<unknown>) => {
      const { subscribe } = await session.requests.next();
      session.deliver(0, ['a']);
      await lost;
      session.say({ revoked: [{ partition: 0, firstOffset: 0n, lastOffset: 0n }] });
      const { flowControl, settlements } = await session.requests.next();
      assert.equal(flowControl?.maxOutstandingMessages, subscribe?.flowControl?.maxOutstandingMessages);
      assert.deepEqual(settlements, []);
    };
    const first = await sessions.next();
    await check(first, begun.next());
    const iterator = iterated[Symbol.asyncIterator]();
    const taken = iterator.next();
    const second = await sessions.next();
    const waiting = taken.then(() => void ends.push(iterator.next().then(() => {})));
    await check(second, waiting);
    for (const [consumer, session] of [
      [ran, first],
      [iterated, second],
    ] as const) {
      ends.push(consumer.close());
      await session.left;
      session.end();
    }
    await Promise.all(ends);
  });
});
