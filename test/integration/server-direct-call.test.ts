import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { CallEnd, StreamReceiver } from '../../src/api/call.js';
import { fieldOf } from '../../src/api/sluice-v1/error-fields.js';
import { systemClock } from '../../src/base/clock.js';
import { SluiceError } from '../../src/base/errors.js';
import { limits } from '../../src/base/limits.js';
import { silentLogger } from '../../src/base/logger.js';
import { Broker } from '../../src/gen/sluice/v1/broker_pb.js';
import { Answers } from '../../src/transport/grpc/answers.js';
import { createDirectCallInterceptor } from '../../src/transport/grpc/call-interceptor.js';
import { CallTable } from '../../src/transport/grpc/call-table.js';
import type { DirectCall } from '../../src/transport/grpc/direct-call.js';
import { Peers } from '../../src/transport/grpc/peers.js';
import { ReceiveWindows } from '../../src/transport/grpc/receive-windows.js';
import { RequestBodies } from '../../src/transport/grpc/request-bodies.js';
import { createServiceDefinition, methodPath } from '../../src/transport/grpc/service-definition.js';
import { StreamAnswers } from '../../src/transport/grpc/stream-answers.js';
import { GuardChain } from '../../src/transport/guards/guard-chain.js';
import { frame } from '../support/grpc-framing.js';
import { Http2Connection } from '../support/http2-connection.js';
import { Inbox } from '../support/inbox.js';

const path = methodPath(Broker.method.publishStream);

/** A call in the hands of the test: it reads when the test says so. */
class ManualCall implements StreamReceiver {
  readonly events = new Inbox<Buffer | SluiceError | 'halfClose' | 'over'>();
  readonly call: DirectCall;
  /** Called for every request, before it is noted. */
  onRequest: () => void = () => {};
  end: CallEnd | undefined;
  requestCount = 0;

  constructor(call: DirectCall) {
    this.call = call;
  }

  begin(): void {}
  request(bytes: Buffer): void {
    this.requestCount++;
    this.onRequest();
    this.events.push(bytes);
  }
  halfClose(): void {
    this.events.push('halfClose');
  }
  stop(error: SluiceError): void {
    this.events.push(error);
  }
  over(end: CallEnd): void {
    this.end = end;
    this.events.push('over');
  }
}

/**
 * What direct-call.ts relies on in grpc-js beyond its documented interface. Where an update of grpc-js changes it,
 * this is to fail, and not a broker in production.
 */
describe('direct calls', () => {
  const longestRequestBytes = 1_000_000;
  const opened = new Inbox<ManualCall>();
  let server: Server;
  let connection: Http2Connection;

  beforeEach(async () => {
    const createReceiver = (call: DirectCall) => {
      const manual = new ManualCall(call);
      opened.push(manual);
      return manual;
    };
    const table = new CallTable({
      routes: new Map([
        [
          path,
          {
            method: { path, descriptor: undefined },
            createReceiver,
            isStream: true,
            hasOneRequest: false,
            longestRequestBytes,
          },
        ],
      ]),
      peers: new Peers({ maxConnectionsPerPeer: 10, maxOpensPerSecond: 100 }, systemClock),
      answers: new Answers(1_000_000),
      streamAnswers: new StreamAnswers(1_000_000),
      bodies: new RequestBodies(1_000_000),
      clock: systemClock,
      maxStreams: 10,
      maxCalls: 10,
    });
    const windows = new ReceiveWindows(
      { streamWindowBytes: 65_535, receiveBytes: 1_000_000 },
      { setStreamWindow() {} },
    );
    server = new Server({
      'grpc.max_receive_message_length': longestRequestBytes,
      interceptors: [
        createDirectCallInterceptor({
          table,
          windows,
          guards: new GuardChain([]),
          fieldOf,
          logger: silentLogger,
        }),
      ],
    });
    server.addService(createServiceDefinition(Broker), {});
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    connection = await Http2Connection.open(`127.0.0.1:${port}`);
  });

  afterEach(() => {
    connection.close();
    server.forceShutdown();
  });

  it('receive nothing that they did not ask for', async () => {
    const stream = connection.call(path);
    stream.write(Buffer.concat([1, 2, 3].map((i) => frame(Uint8Array.of(i)))));
    stream.end();
    const manual = await opened.next();
    for (const expected of [1, 2, 3]) {
      await connection.barrier();
      assert.equal(manual.events.size, 0);
      manual.call.read();
      assert.deepEqual(await manual.events.next(), Buffer.of(expected));
    }
    await connection.barrier();
    assert.equal(manual.events.size, 0);
    manual.call.read();
    assert.equal(await manual.events.next(), 'halfClose');
  });

  it('turn a loop, and no deeper stack, for requests that are there already', async () => {
    const stream = connection.call(path);
    const requestCount = 3_000;
    stream.write(Buffer.concat(Array.from({ length: requestCount }, () => frame(new Uint8Array(0)))));
    const manual = await opened.next();
    manual.call.read();
    await manual.events.next();
    await connection.barrier();
    let deepest = 0;
    let depth = 0;
    manual.onRequest = () => {
      depth++;
      deepest = Math.max(deepest, depth);
      manual.call.read();
      depth--;
    };
    manual.call.read();
    assert(manual.requestCount > 1_000, `only ${manual.requestCount} requests were there at once`);
    assert.equal(deepest, 1);
    await manual.events.take(requestCount - 1);
  });

  it('have copied a response when send returns', async () => {
    const stream = connection.call(path);
    const manual = await opened.next();
    const buffer = Buffer.from('first');
    const written = new Promise<void>((resolve) => {
      manual.call.send(buffer);
      buffer.write('again');
      manual.call.send(buffer, resolve);
      buffer.fill(0);
    });
    manual.call.finish();
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    assert.deepEqual(
      Buffer.concat(chunks),
      Buffer.concat([frame(Buffer.from('first')), frame(Buffer.from('again'))]),
    );
    await written;
  });

  it('send frames as they are, and say when their memory is free again', async () => {
    const stream = connection.call(path);
    const manual = await opened.next();
    const frameBytes = 100_000;
    const count = 30;
    let writtenCount = 0;
    const written = new Promise<void>((resolve) => {
      for (let i = 0; i < count; i++) {
        const framed = Buffer.from(frame(Buffer.alloc(frameBytes, i + 1)));
        manual.call.sendFramed(framed, () => {
          // What comes later to the client must not be this.
          framed.fill(0xff);
          writtenCount++;
          if (writtenCount === count) resolve();
        });
      }
    });
    await connection.barrier();
    assert(writtenCount < count, 'the client has not read, and all of it has left');
    manual.call.finish();
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    const expected = Array.from({ length: count }, (_, i) => frame(Buffer.alloc(frameBytes, i + 1)));
    assert(Buffer.concat(chunks).equals(Buffer.concat(expected)));
    await written;
  });

  it('are over before it is said of frames that were cut off that they have left', async () => {
    connection.session.on('error', () => {});
    connection.call(path).on('error', () => {});
    const manual = await opened.next();
    const overs: boolean[] = [];
    for (let i = 0; i < 20; i++) {
      manual.call.sendFramed(Buffer.from(frame(Buffer.alloc(100_000))), () => overs.push(manual.call.isOver));
    }
    await connection.barrier();
    const earlier = overs.length;
    assert(earlier < 20);
    server.forceShutdown();
    assert.equal(await manual.events.next(), 'over');
    for (let i = 0; i < 10; i++) await setImmediate();
    const later = overs.slice(earlier);
    assert(later.length > 0, 'without callbacks, the frames of a call that has ended need no care');
    assert(later.every((isOver) => isOver));
  });

  it('are over once, when they have ended and when the client has gone', async () => {
    const finished = connection.call(path);
    finished.resume();
    const first = await opened.next();
    assert.equal(first.call.isOver, false);
    first.call.finish();
    assert.equal(await first.events.next(), 'over');
    connection.call(path).close(8);
    const second = await opened.next();
    assert.equal(await second.events.next(), 'over');
    assert.equal(second.call.isOver, true);
    second.call.send(Buffer.from('to a closed call'));
    second.call.fail(new Error('to a closed call'));
    await connection.barrier();
    assert.equal(first.events.size + second.events.size, 0);
  });

  it('say how they ended: answered, cancelled on a connection that lives, or with their connection', async () => {
    connection.session.on('error', () => {});
    const open = async () => {
      const stream = connection.call(path).on('error', () => {});
      return { stream, manual: await opened.next() };
    };
    const [answered, cancelled, cancelledFirst, lost] = [
      await open(),
      await open(),
      await open(),
      await open(),
    ];
    answered.manual.call.finish();
    assert.equal(await answered.manual.events.next(), 'over');
    assert.equal(answered.manual.end, 'answered');
    cancelled.stream.close(8);
    assert.equal(await cancelled.manual.events.next(), 'over');
    assert.equal(cancelled.manual.end, 'cancelled');
    // A client that closes everything: the end of the connection is close behind.
    cancelledFirst.stream.close(8);
    for (let i = 0; i < 3; i++) await setImmediate();
    connection.session.destroy();
    assert.equal(await cancelledFirst.manual.events.next(), 'over');
    assert.equal(cancelledFirst.manual.end, 'cancelled');
    assert.equal(await lost.manual.events.next(), 'over');
    assert.equal(lost.manual.end, 'broke');
  });

  it('let go of what they hold although the client does not read', async () => {
    const stream = connection.call(path);
    const manual = await opened.next();
    let writtenCount = 0;
    for (let i = 0; i < 10; i++) manual.call.send(Buffer.alloc(100_000), () => writtenCount++);
    manual.call.fail(new SluiceError('DRAINING', 'bye'));
    assert.equal(manual.events.size, 0, 'told from within');
    assert.equal(await manual.events.next(), 'over');
    await connection.barrier();
    assert(writtenCount < 10);
    const status = new Promise<Record<string, unknown>>((resolve) => stream.once('trailers', resolve));
    stream.resume();
    assert.equal((await status)['grpc-status'], '14');
  });

  it('hear of a request that is refused by its length, once, and have the last word', async () => {
    const stream = connection.call(path);
    const trailers = new Promise<Record<string, unknown>>((resolve) =>
      stream.once('headers', resolve).once('response', resolve),
    );
    const tooLarge = Buffer.alloc(5);
    tooLarge.writeUInt32BE(longestRequestBytes + limits.oversizeReadBytes + 1, 1);
    stream.write(tooLarge);
    const manual = await opened.next();
    manual.call.read();
    const error = await manual.events.next();
    assert(error instanceof SluiceError);
    assert.equal(error.reason, 'REQUEST_TOO_LARGE');
    for (let i = 0; i < 3; i++) {
      stream.write(Buffer.alloc(1000));
      await connection.barrier();
    }
    assert.equal(manual.events.size, 0);
    manual.call.fail(error);
    assert.equal((await trailers)['grpc-status'], '3');
    assert.equal(await manual.events.next(), 'over');
  });

  it('hear of the requests before one that is refused by its length, although they arrive together', async () => {
    const stream = connection.call(path);
    const tooLarge = Buffer.alloc(5);
    tooLarge.writeUInt32BE(longestRequestBytes + limits.oversizeReadBytes + 1, 1);
    stream.write(Buffer.concat([...[1, 2, 3].map((i) => frame(Uint8Array.of(i))), tooLarge]));
    const manual = await opened.next();
    for (const expected of [1, 2, 3]) {
      manual.call.read();
      assert.deepEqual(await manual.events.next(), Buffer.of(expected));
    }
    manual.call.read();
    const error = await manual.events.next();
    assert(error instanceof SluiceError);
    assert.equal(error.reason, 'REQUEST_TOO_LARGE');
    stream.close();
  });

  it('hear that the client closed its half inside a request', async () => {
    const stream = connection.call(path);
    stream.write(frame(Buffer.from('whole')));
    stream.end(frame(Buffer.from('cut short')).subarray(0, 8));
    const manual = await opened.next();
    manual.call.read();
    assert.deepEqual(await manual.events.next(), Buffer.from('whole'));
    manual.call.read();
    const error = await manual.events.next();
    assert(error instanceof SluiceError);
    assert.equal(error.reason, 'MALFORMED_REQUEST');
    stream.close();
  });

  it('hear of a request that does not decompress', async () => {
    const stream = connection.session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      'grpc-encoding': 'gzip',
    });
    const compressed = frame(Buffer.from('no gzip'));
    compressed[0] = 1;
    stream.write(compressed);
    const manual = await opened.next();
    manual.call.read();
    const error = await manual.events.next();
    assert(error instanceof SluiceError);
    assert.equal(error.reason, 'MALFORMED_REQUEST');
    stream.close();
  });

  it('end at their deadline by themselves', async () => {
    const stream = connection.session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      'grpc-timeout': '1m',
    });
    const status = new Promise<Record<string, unknown>>((resolve) => stream.once('response', resolve));
    const manual = await opened.next();
    assert.equal((await status)['grpc-status'], '4');
    assert.equal(await manual.events.next(), 'over');
  });

  it('fail when their receiver throws, and stay the only ones to', async () => {
    const stream = connection.call(path);
    const status = new Promise<Record<string, unknown>>((resolve) => stream.once('response', resolve));
    stream.write(frame(new Uint8Array(0)));
    const manual = await opened.next();
    manual.onRequest = () => {
      throw new SluiceError('UNKNOWN_PARTITION', 'no such partition');
    };
    manual.call.read();
    assert.equal((await status)['grpc-status'], '3');
    connection.call(path);
    await opened.next();
  });
});
