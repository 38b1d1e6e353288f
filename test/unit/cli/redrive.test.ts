import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import type { ServerWritableStream } from '@grpc/grpc-js';
import {
  type RedriveDeadLettersRequest,
  type RedriveDeadLettersResponse,
  RedriveDeadLettersResponseSchema,
} from '@sluice/client/api';
import { type FakeBroker, startFakeBroker } from '../../support/fake-server.js';
import { runCli } from './cli-run.js';

type Call = ServerWritableStream<RedriveDeadLettersRequest, RedriveDeadLettersResponse>;

describe('sluice redrive', () => {
  let broker: FakeBroker;
  let handle: (call: Call) => void;
  beforeEach(async () => {
    broker = await startFakeBroker({ redriveDeadLetters: (call: Call) => handle(call) });
  });
  afterEach(() => broker.close());

  const redrive = (...args: string[]) =>
    runCli(['redrive', 'orders', 'billing', '--server', broker.target, ...args]);

  function say(call: Call, redrivenCount: bigint, remainingCount: bigint): void {
    call.write(create(RedriveDeadLettersResponseSchema, { redrivenCount, remainingCount }));
  }

  function refuse(call: Call): void {
    call.emit('error', Object.assign(new Error('no'), { code: 9, details: 'the topic is gone' }));
  }

  it('asks for what it was told, and prints what was said last', async () => {
    let request: RedriveDeadLettersRequest | undefined;
    handle = (call) => {
      request = call.request;
      say(call, 0n, 12_345n);
      say(call, 12_000n, 345n);
      call.end();
    };
    const { exitCode, stdout } = await redrive('--limit', '12000', '--rate', '0.5', '--dry-run');
    assert.equal(exitCode, 0);
    assert.equal(stdout.toString(), '12,000 dead letters would be sent back, 345 remain\n');
    assert.deepEqual([request?.topic, request?.subscription, request?.dryRun], ['orders', 'billing', true]);
    assert.deepEqual([request?.limit, request?.rate], [12_000n, 0.5]);
  });

  it('says how far it has come also where it fails on the way', async () => {
    handle = (call) => {
      say(call, 3n, 4n);
      refuse(call);
    };
    const { exitCode, stdout, stderr } = await redrive();
    assert.equal(exitCode, 1);
    assert.equal(stdout.toString(), '3 dead letters sent back, 4 remain\n');
    assert.match(stderr, /^sluice: the topic is gone /);
  });

  it('says nothing of dead letters where it is refused', async () => {
    handle = refuse;
    const { exitCode, stdout } = await redrive('--json');
    assert.equal(exitCode, 1);
    assert.equal(stdout.length, 0);
  });
});
