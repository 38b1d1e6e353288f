import assert from 'node:assert/strict';
import { once } from 'node:events';
import { gzipSync } from 'node:zlib';
import type { DescMethod } from '@bufbuild/protobuf';
import { limits } from '../../src/base/limits.js';
import { KiB, MiB } from '../../src/base/units.js';
import { Admin, CreateSubscriptionRequestSchema } from '../../src/gen/sluice/v1/admin_pb.js';
import { AcknowledgeRequestSchema, Broker } from '../../src/gen/sluice/v1/broker_pb.js';
import { FakeBroker } from '../support/fake-broker.js';
import { type Harness, startHarness } from '../support/grpc-harness.js';
import { Http2Connection } from '../support/http2-connection.js';
import { Inbox } from '../support/inbox.js';
import { encode, RawConnection, type RawStatus, type RawStream } from '../support/raw-grpc.js';

/** The five bytes before a request. */
function prefix(bytes: number, isCompressed = false): Buffer {
  const head = Buffer.alloc(5);
  head[0] = isCompressed ? 1 : 0;
  head.writeUInt32BE(bytes, 1);
  return head;
}

describe('the one request of a call', () => {
  const requestBytes = 256 * KiB;
  const broker = new FakeBroker();
  let harness: Harness;
  let connection: RawConnection;

  beforeEach(async () => {
    harness = await startHarness(broker, { requestBytes });
    connection = await RawConnection.connect(harness.server.address);
  });
  afterEach(async () => {
    connection.destroy();
    await harness.close();
  });

  function open(method: DescMethod, on = connection): { stream: RawStream; status: Promise<RawStatus> } {
    let ended: (status: RawStatus) => void = () => {};
    const status = new Promise<RawStatus>((resolve) => {
      ended = resolve;
    });
    return { stream: on.open(method, { onMessage() {}, onEnd: ended }), status };
  }

  /** Until the server holds so many bytes of requests; each turn is a call that the server answers. */
  async function untilHeld(bytes: number): Promise<void> {
    const other = await RawConnection.connect(harness.server.address);
    while (harness.server.calls.requestBytes !== bytes) await other.unary(Admin.method.getServerInfo, {});
    other.destroy();
  }

  const methods: readonly [DescMethod, number][] = [
    [Admin.method.getTopic, limits.smallRequestBytes],
    [Admin.method.redriveDeadLetters, limits.smallRequestBytes],
    [Admin.method.updateTopic, limits.configRequestBytes],
    [Admin.method.createSubscription, limits.configRequestBytes],
    [Broker.method.subscribe, limits.smallRequestBytes],
    [Broker.method.read, limits.smallRequestBytes],
    [Broker.method.updateFlowControl, limits.smallRequestBytes],
    [Broker.method.acknowledge, limits.maxRequestBytes],
  ];
  for (const [method, maxBytes] of methods) {
    it(`is refused by its length, before it comes: ${method.name}`, async () => {
      const { stream, status } = open(method);
      stream.write(prefix(maxBytes + 1));
      assert.equal((await status).reason, 'REQUEST_TOO_LARGE');
      assert.equal(harness.server.calls.requestBytes, 0);
    });
  }

  it('is refused by its length in a health check, too', async () => {
    const http2 = await Http2Connection.open(harness.server.address);
    const stream = http2.call('/grpc.health.v1.Health/Check');
    stream.write(prefix(limits.smallRequestBytes + 1));
    const [headers] = await once(stream, 'response');
    assert.equal(headers['grpc-status'], '3');
    http2.close();
  });

  it('is refused where it decompresses to more than the method takes', async () => {
    const http2 = await Http2Connection.open(harness.server.address);
    const stream = http2.session.request({
      ':method': 'POST',
      ':path': '/sluice.v1.Admin/GetTopic',
      'content-type': 'application/grpc',
      'grpc-encoding': 'gzip',
    });
    const body = gzipSync(Buffer.alloc(MiB));
    assert(body.length < limits.smallRequestBytes);
    stream.write(Buffer.concat([prefix(body.length, true), body]));
    const [headers] = await once(stream, 'response');
    assert.equal(headers['grpc-status'], '3');
    assert.equal(harness.server.calls.requestBytes, 0);
    http2.close();
  });

  it('may be as large as what it is about', async () => {
    // A subscription as it was read, with the statistics of as many partitions as there can be.
    const largest = 2n ** 64n - 1n;
    const partitions = Array.from({ length: limits.largestMaxPartitionCount }, (_, partition) => ({
      partition,
      acknowledgedOffset: largest,
      backlogMessageCount: largest,
      outstandingMessageCount: largest,
      deadLetterCount: largest,
      sessionId: 'x'.repeat(64),
    }));
    const subscription = { topic: 't'.repeat(200), name: 's'.repeat(200), partitions };
    const config = encode(CreateSubscriptionRequestSchema, { subscription });
    assert.ok(config.length <= limits.configRequestBytes, `${config.length}`);
    const reason = 'r'.repeat(350);
    const settlements = Array.from({ length: limits.maxSettlementsPerRequest }, (_, i) => ({
      offsets: { partition: 1, firstOffset: BigInt(i), lastOffset: BigInt(i) },
      outcome: { case: 'deadLetter' as const, value: { reason } },
    }));
    const request = encode(AcknowledgeRequestSchema, { sessionId: 's', settlements });
    assert.ok(request.length > 3 * MiB);
    const { stream, status } = open(Broker.method.acknowledge);
    stream.write(request);
    stream.end();
    const settle = await broker.settles.next();
    assert.ok(harness.server.calls.requestBytes > 3 * MiB);
    settle.resolve({ settledCount: 0, stale: [] });
    assert.equal((await status).code, 0);
    assert.equal(harness.server.calls.requestBytes, 0);
  });

  it('counts from its first bytes on; above the bound calls are refused, but not of other connections', async () => {
    const ended = new Inbox<RawStatus>();
    const most = requestBytes / 2 / limits.smallRequestBytes;
    const streams = Array.from({ length: most + 1 }, () => {
      const { stream, status } = open(Admin.method.getTopic);
      void status.then((each) => ended.push(each));
      stream.write(prefix(limits.smallRequestBytes));
      return stream;
    });
    const refusal = await ended.next();
    assert.equal(refusal.reason, 'TOO_MANY_CALLS');
    assert.equal(harness.server.calls.refusals.get('TOO_MANY_CALLS'), 1);
    assert.equal(harness.server.calls.requestBytes, requestBytes / 2);
    const other = await RawConnection.connect(harness.server.address);
    await other.unary(Admin.method.getServerInfo, {});
    other.destroy();
    for (const stream of streams) stream.cancel();
    await untilHeld(0);
  });

  it('is let go of when its connection is lost', async () => {
    const { stream } = open(Broker.method.acknowledge);
    stream.write(prefix(MiB));
    await untilHeld(MiB);
    connection.destroy();
    await untilHeld(0);
  });

  it('is let go of at the deadline of its call, and the stream is closed, where the client sends no end', async () => {
    const http2 = await Http2Connection.open(harness.server.address);
    const stream = http2.session.request({
      ':method': 'POST',
      ':path': '/sluice.v1.Admin/GetTopic',
      'content-type': 'application/grpc',
      'grpc-timeout': '200m',
    });
    stream.write(prefix(100));
    stream.resume();
    await once(stream, 'close');
    assert.equal(harness.server.calls.requestBytes, 0);
    http2.close();
  });

  it('is let go of once its stream has begun', async () => {
    const { stream } = open(Broker.method.subscribe);
    stream.write(Buffer.concat([prefix(6), Buffer.from('\x0a\x01t\x12\x01s')]));
    stream.end();
    await broker.sessions.next();
    assert.equal(harness.server.calls.requestBytes, 0);
    stream.cancel();
  });

  it('comes alone', async () => {
    const { stream, status } = open(Admin.method.getServerInfo);
    stream.write(Buffer.concat([prefix(0), prefix(0)]));
    assert.equal((await status).reason, 'MALFORMED_REQUEST');
  });
});
