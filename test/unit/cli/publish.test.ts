import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import type { ServerDuplexStream, sendUnaryData } from '@grpc/grpc-js';
import {
  Durability,
  GetProducerResponseSchema,
  GetServerInfoResponseSchema,
  OpenProducerResponseSchema,
  type PublishStreamRequest,
  type PublishStreamResponse,
  PublishStreamResponseSchema,
} from '@sluice/client/api';
import { systemClock } from '../../../src/base/clock.js';
import { type FakeBroker, startFakeBroker } from '../../support/fake-server.js';
import { bytesOf, runCli } from './cli-run.js';

type Call = ServerDuplexStream<PublishStreamRequest, PublishStreamResponse>;

/** Lets the event loop go round. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Answers batches as it is told, and keeps them. */
class Batches {
  readonly received: PublishStreamRequest[] = [];
  #nextOffset = 0n;
  /** Answers a batch; the default is a receipt. */
  answer: (request: PublishStreamRequest, call: Call) => void = (request, call) =>
    this.receipt(request, call);

  receipt(request: PublishStreamRequest, call: Call): void {
    const firstOffset = this.#nextOffset;
    this.#nextOffset += BigInt(request.messages.length);
    call.write(
      create(PublishStreamResponseSchema, {
        batchId: request.batchId,
        messageCount: BigInt(request.messages.length),
        ranges: [{ partition: 0, firstOffset, lastOffset: this.#nextOffset - 1n }],
        durability: Durability.SYNCED,
      }),
    );
  }

  refuse({ batchId }: PublishStreamRequest, call: Call): void {
    const error = { code: 8, reason: 'BACKLOG_FULL', message: 'full' };
    call.write(create(PublishStreamResponseSchema, { batchId, error }));
  }

  handle = (call: Call): void => {
    call.on('data', (request: PublishStreamRequest) => {
      this.received.push(request);
      this.answer(request, call);
    });
    call.on('end', () => call.end());
  };

  get payloads(): string[] {
    return this.received.flatMap(({ messages }) =>
      messages.map(({ payload }) => Buffer.from(payload).toString()),
    );
  }
}

describe('sluice publish', () => {
  let broker: FakeBroker;
  let batches: Batches;
  let lastSequence: bigint;
  /** Lines that another run stores between a look at the producer and its claim. */
  let storedBeforeClaim: bigint;
  let maxRequestBytes: bigint;

  beforeEach(async () => {
    batches = new Batches();
    lastSequence = 0n;
    storedBeforeClaim = 0n;
    maxRequestBytes = 1_000_000n;
    broker = await startFakeBroker({
      publishStream: (call: Call) => batches.handle(call),
      getServerInfo: (_call: unknown, done: sendUnaryData<unknown>) =>
        done(null, create(GetServerInfoResponseSchema, { maxMessageBytes: 1000n, maxRequestBytes })),
      getProducer: (_call: unknown, done: sendUnaryData<unknown>) =>
        done(null, create(GetProducerResponseSchema, { epoch: 3n, lastSequence })),
      openProducer: (_call: unknown, done: sendUnaryData<unknown>) => {
        lastSequence += storedBeforeClaim;
        done(null, create(OpenProducerResponseSchema, { epoch: 4n, lastSequence }));
      },
    });
  });
  afterEach(() => broker.close());

  const publish = (args: readonly string[], stdin: AsyncIterable<Uint8Array>, interrupted?: AbortSignal) =>
    runCli(['publish', 'words', '--server', broker.target, ...args], {
      stdin,
      // What is under way then has its time to be stored.
      ...(interrupted !== undefined && { interrupted, clock: systemClock }),
    });

  it('sends every line once, in order, with keys and headers', async () => {
    const lines = Array.from({ length: 250 }, (_, i) => `line ${i}`);
    const args = ['--batch-size', '100', '--key-prefix-length', '4', '--header', 'a=1', '--header', 'b=x=y'];
    const { exitCode, stderr } = await publish(args, bytesOf(`${lines.join('\n')}\n`));
    assert.equal(exitCode, 0);
    assert.deepEqual(batches.payloads, lines);
    assert.deepEqual(
      batches.received.map(({ messages }) => messages.length),
      [100, 100, 50],
    );
    const message = batches.received[0]!.messages[0]!;
    assert.equal(Buffer.from(message.key).toString(), 'line');
    assert.deepEqual({ ...message.headers }, { a: '1', b: 'x=y' });
    assert.match(stderr, /^published 250 lines to words \(.*1 partition; synced\)\n$/);
  });

  it('prints the receipt as JSON, with ranges merged', async () => {
    const { stdout, stderr } = await publish(['--json', '--batch-size', '1'], bytesOf('a\nb\nc\n'));
    const { elapsedMs, ...receipt } = JSON.parse(stdout.toString());
    assert.equal(typeof elapsedMs, 'number');
    assert.deepEqual(receipt, {
      topic: 'words',
      messageCount: 3,
      duplicateCount: 0,
      skippedCount: 0,
      durability: 'synced',
      ranges: [{ partition: 0, firstOffset: 0, lastOffset: 2 }],
    });
    assert.equal(stderr, '');
  });

  it('sends a line at once while the input stays open', async () => {
    let answered: (() => void) | undefined;
    const hasReceipt = new Promise<void>((resolve) => {
      answered = resolve;
    });
    batches.answer = (request, call) => {
      batches.receipt(request, call);
      answered?.();
    };
    async function* typed(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('first\n');
      // Goes on only when the first line has arrived: it would wait for ever otherwise.
      await hasReceipt;
      yield Buffer.from('second');
    }
    const { exitCode } = await publish([], typed());
    assert.equal(exitCode, 0);
    assert.deepEqual(batches.payloads, ['first', 'second']);
  });

  it('never has more batches under way than the bound, and catches up', async () => {
    const waiting: (() => void)[] = [];
    let most = 0;
    batches.answer = (request, call) => {
      waiting.push(() => batches.receipt(request, call));
      most = Math.max(most, waiting.length);
      const isLast = batches.received.length === 100;
      // At the bound: answers the oldest after some turns, in which one batch too many would arrive.
      if (waiting.length === 64 && !isLast) void turns(10).then(() => waiting.shift()!());
      if (isLast) for (const answer of waiting.splice(0)) answer();
    };
    const lines = Array.from({ length: 100 }, (_, i) => `${i}\n`).join('');
    const { exitCode } = await publish(['--batch-size', '1'], bytesOf(lines));
    assert.equal(exitCode, 0);
    assert.equal(most, 64);
    assert.equal(batches.payloads.length, 100);
  });

  it('numbers lines for an idempotent producer, in the epoch that it has claimed', async () => {
    await publish(['--producer-id', 'p', '--batch-size', '2'], bytesOf('a\nb\nc\n'));
    assert.deepEqual(
      batches.received.map(({ producer }) => [
        producer?.producerId,
        producer?.epoch,
        producer?.firstSequence,
      ]),
      [
        ['p', 4n, 1n],
        ['p', 4n, 3n],
      ],
    );
  });

  it('passes over what is stored with --resume, and keeps the numbers', async () => {
    lastSequence = 2n;
    const { stderr } = await publish(['--producer-id', 'p', '--resume'], bytesOf('a\nb\nc\nd\n'));
    assert.deepEqual(batches.payloads, ['c', 'd']);
    assert.equal(batches.received[0]?.producer?.firstSequence, 3n);
    assert.match(stderr, /2 passed over/);
  });

  it('refuses lines where the producer has stored some, and sends nothing', async () => {
    for (const isLate of [false, true]) {
      lastSequence = isLate ? 0n : 1n;
      storedBeforeClaim = 1n;
      const { exitCode, stderr } = await publish(['--producer-id', 'p'], bytesOf('a\nb\n'));
      assert.equal(exitCode, 2);
      assert.match(stderr, /producer p has stored 1 line in words: --resume skips the first 1 line of/);
      assert.deepEqual(batches.received, []);
    }
  });

  it('has no epoch to choose', async () => {
    const { exitCode } = await publish(['--producer-id', 'p', '--epoch', '9'], bytesOf('a\n'));
    assert.equal(exitCode, 2);
  });

  it('stops at a refused batch and says which lines are missing', async () => {
    batches.answer = (request, call) =>
      batches.received.length === 2 ? batches.refuse(request, call) : batches.receipt(request, call);
    let readCount = 4;
    async function* input(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('1\n2\n3\n4\n');
      for (; readCount < 5000; readCount++) {
        yield Buffer.from('more\n');
        await turns(1);
      }
    }
    const { exitCode, stderr } = await publish(['--batch-size', '2'], input());
    assert.equal(exitCode, 1);
    assert.match(stderr, /sluice: full \(BACKLOG_FULL\)/);
    assert.match(stderr, /refused, and not stored: lines 3-4/);
    assert(readCount < 1000, 'it read on after the refusal');
  });

  it('says which lines may be stored when the call breaks', async () => {
    batches.answer = (request, call) => {
      if (batches.received.length === 1) batches.receipt(request, call);
      else call.emit('error', Object.assign(new Error('gone'), { code: 14, details: 'gone' }));
    };
    const { exitCode, stderr } = await publish(['--batch-size', '2'], bytesOf('1\n2\n', '3\n4\n'));
    assert.equal(exitCode, 3);
    assert.match(stderr, /published 2 lines/);
    assert.match(stderr, /not known to be stored: lines 3-4/);
  });

  it('refuses a line that is too long, after storing those before it', async () => {
    const { exitCode, stderr } = await publish([], bytesOf('ok\n', 'x'.repeat(1001)));
    assert.equal(exitCode, 1);
    assert.match(stderr, /line 2 is longer than a message may be: 1000 bytes/);
    assert.deepEqual(batches.payloads, ['ok']);
  });

  it('keeps batches below what a request may have', async () => {
    maxRequestBytes = 9000n;
    const line = `${'x'.repeat(900)}\n`;
    const { exitCode } = await publish(['--batch-bytes', '1MiB'], bytesOf(line.repeat(100)));
    assert.equal(exitCode, 0);
    assert.equal(batches.payloads.length, 100);
    for (const { messages } of batches.received) assert(messages.length * 900 < 9000);
  });

  it('stores what it has read when it is interrupted, and says so by its exit code', async () => {
    const interrupt = new AbortController();
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('first\n');
      interrupt.abort();
      await new Promise(() => {});
    }
    const { exitCode, stderr } = await publish([], endless(), interrupt.signal);
    assert.equal(exitCode, 130);
    assert.deepEqual(batches.payloads, ['first']);
    assert.match(stderr, /published 1 line/);
  });

  it('says what it cannot reach or read', async () => {
    const unread = await publish(['--file', '/does/not/exist'], bytesOf());
    assert.equal(unread.exitCode, 1);
    assert.match(unread.stderr, /\/does\/not\/exist can't be read/);
    await broker.close();
    const unreached = await publish([], bytesOf('a\n'));
    assert.equal(unreached.exitCode, 3);
    assert.match(
      unreached.stderr,
      /^sluice: nothing listens at 127\.0\.0\.1:\d+ \(UNAVAILABLE\)\n.*sluice serve/m,
    );
  });
});
