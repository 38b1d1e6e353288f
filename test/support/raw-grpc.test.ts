import assert from 'node:assert/strict';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { create, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { StatusCode } from '../../src/base/reasons.js';
import { ErrorInfoSchema } from '../../src/gen/google/rpc/error_details_pb.js';
import { StatusSchema } from '../../src/gen/google/rpc/status_pb.js';
import { Broker, GetProducerResponseSchema } from '../../src/gen/sluice/v1/broker_pb.js';
import { FrameReader, frame } from './grpc-framing.js';
import { encode, RawConnection, RawGrpcError, type RawStatus } from './raw-grpc.js';

describe('raw gRPC', () => {
  it('cuts messages out of chunks, wherever these end', () => {
    const messages = [0, 1, 300, 70_000, 2].map((length) => Buffer.alloc(length, length % 251));
    const wire = Buffer.concat(messages.map(frame));
    for (const chunkBytes of [1, 4, 5, 6, 299, wire.byteLength]) {
      const seen: Buffer[] = [];
      const reader = new FrameReader((message) => seen.push(Buffer.from(message)));
      for (let at = 0; at < wire.byteLength; at += chunkBytes)
        reader.push(wire.subarray(at, at + chunkBytes));
      assert.deepEqual(seen, messages, `chunks of ${chunkBytes}`);
      assert.ok(reader.isAtBoundary);
    }
  });

  it('knows when a message is incomplete', () => {
    const reader = new FrameReader(() => assert.fail('the message is not complete'));
    reader.push(frame(Buffer.alloc(10)).subarray(0, 14));
    assert.ok(!reader.isAtBoundary);
  });

  describe('against a server', () => {
    let server: http2.Http2Server;
    let connection: RawConnection;
    /** What the server does with the next call. */
    let serve: (stream: http2.ServerHttp2Stream) => void;

    beforeEach(async () => {
      server = http2.createServer();
      server.on('stream', (stream) => serve(stream));
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      connection = await RawConnection.connect(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    });

    afterEach(async () => {
      connection.destroy();
      await new Promise((resolve) => server.close(resolve));
    });

    function answer(stream: http2.ServerHttp2Stream, trailers: http2.OutgoingHttpHeaders, body?: Uint8Array) {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers(trailers));
      stream.end(body);
    }

    const request = { topic: 'orders', producerId: 'p' };

    it('answers a unary call', async () => {
      let received = Buffer.alloc(0);
      serve = (stream) => {
        stream.on('data', (chunk: Buffer) => {
          received = Buffer.concat([received, chunk]);
        });
        stream.on('end', () => {
          const response = create(GetProducerResponseSchema, { epoch: 3n, lastSequence: 9n });
          answer(stream, { 'grpc-status': '0' }, frame(toBinary(GetProducerResponseSchema, response)));
        });
      };
      const response = await connection.unary(Broker.method.getProducer, request);
      assert.equal(response.lastSequence, 9n);
      assert.deepEqual(received, encode(Broker.method.getProducer.input, request));
    });

    it('rejects with the code and the reason of a status with details', async () => {
      const info = create(ErrorInfoSchema, { reason: 'TOPIC_NOT_FOUND', domain: 'sluice.v1' });
      const status = create(StatusSchema, { code: 5, details: [anyPack(ErrorInfoSchema, info)] });
      serve = (stream) =>
        answer(stream, {
          'grpc-status': '5',
          'grpc-message': 'no topic %22orders%22',
          'grpc-status-details-bin': Buffer.from(toBinary(StatusSchema, status)).toString('base64'),
        });
      await assert.rejects(connection.unary(Broker.method.getProducer, request), (error) => {
        assert.ok(error instanceof RawGrpcError);
        assert.equal(error.status.code, StatusCode.NOT_FOUND);
        assert.equal(error.status.reason, 'TOPIC_NOT_FOUND');
        assert.equal(error.status.message, 'no topic "orders"');
        return true;
      });
    });

    it('reports a stream that broke as UNAVAILABLE, once', async () => {
      serve = (stream) => stream.session?.destroy();
      const ends: RawStatus[] = [];
      await new Promise<void>((resolve) => {
        connection.open(Broker.method.publishStream, {
          onMessage: () => assert.fail('nothing was answered'),
          onEnd: (status) => {
            ends.push(status);
            resolve();
          },
        });
      });
      assert.deepEqual(
        ends.map((end) => end.code),
        [StatusCode.UNAVAILABLE],
      );
      assert.ok(connection.isClosed);
    });
  });
});
