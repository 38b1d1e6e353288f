import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { create } from '@bufbuild/protobuf';
import type { ServerDuplexStream, sendUnaryData } from '@grpc/grpc-js';
import {
  type ConsumeRequest,
  type ConsumeResponse,
  ConsumeResponseSchema,
  GetSubscriptionResponseSchema,
  type OffsetRange,
} from '@sluice/client/api';
import { type FakeBroker, startFakeBroker } from '../../support/fake-server.js';
import { type CliOptions, runCli } from './cli-run.js';

type Call = ServerDuplexStream<ConsumeRequest, ConsumeResponse>;

/** One subscription with messages `0`, `1`, … in one partition, delivered as credit allows. */
class Subscription {
  readonly #size: number;
  #credit = 0;
  #delivered = 0;
  acknowledgedCount = 0;
  /** The most that could ever have been delivered: acknowledged and credit together, at their highest. */
  mostGranted = 0;
  readonly acknowledged: OffsetRange[] = [];
  onDelivered: () => void = () => {};

  constructor(size: number) {
    this.#size = size;
  }

  get isCaughtUp(): boolean {
    return this.acknowledgedCount === this.#size;
  }

  handle = (call: Call): void => {
    call.on('data', (request: ConsumeRequest) => this.#take(request, call));
    call.on('end', () => call.end());
  };

  #take(request: ConsumeRequest, call: Call): void {
    const flow = request.subscribe?.flowControl ?? request.flowControl;
    if (flow !== undefined) this.#credit = flow.maxOutstandingMessages ?? 0;
    for (const { offsets } of request.settlements) {
      this.acknowledged.push(offsets!);
      this.acknowledgedCount += Number(offsets!.lastOffset - offsets!.firstOffset) + 1;
    }
    if (request.settlementId > 0n) {
      call.write(
        create(ConsumeResponseSchema, { settled: { settlementId: request.settlementId, result: {} } }),
      );
    }
    this.mostGranted = Math.max(this.mostGranted, this.acknowledgedCount + this.#credit);
    this.#deliver(call);
  }

  #deliver(call: Call): void {
    const room = this.acknowledgedCount + this.#credit - this.#delivered;
    const count = Math.min(room, this.#size - this.#delivered);
    if (count <= 0) return;
    const firstOffset = BigInt(this.#delivered);
    const messages = Array.from({ length: count }, (_, i) => ({
      payload: Buffer.from(`${this.#delivered + i}`),
    }));
    this.#delivered += count;
    call.write(
      create(ConsumeResponseSchema, { runs: [{ partition: 0, firstOffset, messages, attempt: 1 }] }),
    );
    this.onDelivered();
  }
}

const numbers = (count: number): string => Array.from({ length: count }, (_, i) => `${i}\n`).join('');

describe('sluice subscribe', () => {
  let broker: FakeBroker;
  let subscription: Subscription;

  beforeEach(async () => {
    broker = await startFakeBroker({
      consume: (call: Call) => subscription.handle(call),
      getSubscription: (_call: unknown, done: sendUnaryData<unknown>) => {
        const backlogMessageCount = subscription.isCaughtUp ? 0n : 1n;
        done(
          null,
          create(GetSubscriptionResponseSchema, { subscription: { partitions: [{ backlogMessageCount }] } }),
        );
      },
    });
  });
  afterEach(() => broker.close());

  const subscribe = (args: readonly string[], options: CliOptions = {}) =>
    runCli(['subscribe', 'words', 'count', '--server', broker.target, ...args], options);

  it('prints and acknowledges everything until caught up', async () => {
    subscription = new Subscription(5000);
    const { exitCode, stdout, stderr } = await subscribe(['--until-caught-up', '--max-outstanding', '300']);
    assert.equal(exitCode, 0);
    assert.equal(stdout.toString(), numbers(5000));
    assert.equal(subscription.acknowledgedCount, 5000);
    assert.equal(stderr, 'printed and acknowledged 5,000 messages\n');
  });

  it('ends exactly at the limit and never asks for more than it prints', async () => {
    subscription = new Subscription(10_000);
    const { stdout } = await subscribe(['--limit', '2500', '--max-outstanding', '1000']);
    assert.equal(stdout.toString(), numbers(2500));
    assert.equal(subscription.acknowledgedCount, 2500);
    assert.equal(subscription.mostGranted, 2500);
  });

  it('asks for no more than a limit below its credit', async () => {
    subscription = new Subscription(10_000);
    const { stdout } = await subscribe(['--limit', '3', '--json']);
    const offsets = stdout.toString().trimEnd().split('\n');
    assert.deepEqual(
      offsets.map((line) => JSON.parse(line).offset),
      [0, 1, 2],
    );
    assert.equal(subscription.mostGranted, 3);
  });

  it('acknowledges nothing with --no-ack', async () => {
    subscription = new Subscription(10);
    const { stdout, stderr } = await subscribe(['--no-ack', '--limit', '10']);
    assert.equal(stdout.toString(), numbers(10));
    assert.equal(subscription.acknowledgedCount, 0);
    assert.equal(stderr, 'printed 10 messages\n');
  });

  it('ends when nothing comes', async () => {
    subscription = new Subscription(0);
    const { exitCode, stdout } = await subscribe(['--exit-when-idle', '10s']);
    assert.equal(exitCode, 0);
    assert.equal(stdout.length, 0);
  });

  it('ends quietly when its output has no reader, and acknowledges only what was taken', async () => {
    subscription = new Subscription(100);
    const taken: string[] = [];
    const stdout = new Writable({
      write(chunk, _encoding, done) {
        if (taken.length === 2) done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
        else done(void taken.push(String(chunk)) as undefined);
      },
    });
    const { exitCode, stderr } = await subscribe(['--max-outstanding', '10'], { stdout });
    assert.equal(exitCode, 0);
    assert.equal(stderr, '');
    assert(subscription.acknowledgedCount <= taken.join('').split('\n').length - 1);
  });

  it('does not acknowledge what is not printed yet', async () => {
    subscription = new Subscription(10);
    let print: (() => void) | undefined;
    const isPrinting = new Promise<void>((resolve) => {
      print = resolve;
    });
    let release: (() => void) | undefined;
    const stdout = new Writable({
      write(_chunk, _encoding, done) {
        release = () => done();
        print?.();
      },
    });
    const running = subscribe(['--limit', '10'], { stdout });
    await isPrinting;
    // A round trip on another connection: whatever was on its way before has arrived.
    await broker.client.admin.getSubscription({});
    assert.equal(subscription.acknowledgedCount, 0);
    release?.();
    await running;
    assert.equal(subscription.acknowledgedCount, 10);
  });

  it('settles what it has printed when it is interrupted', async () => {
    subscription = new Subscription(10);
    const interrupt = new AbortController();
    subscription.onDelivered = () => interrupt.abort();
    const { exitCode, stdout } = await subscribe([], { interrupted: interrupt.signal });
    assert.equal(exitCode, 130);
    assert.equal(subscription.acknowledgedCount, stdout.toString().split('\n').length - 1);
  });

  it('says why the broker refused', async () => {
    await broker.close();
    broker = await startFakeBroker({
      consume: (call: Call) =>
        call.emit('error', Object.assign(new Error('no'), { code: 5, details: 'there is no such topic' })),
    });
    const { exitCode, stderr } = await subscribe([]);
    assert.equal(exitCode, 1);
    assert.equal(stderr, 'sluice: there is no such topic (NOT_FOUND)\n');
  });
});
