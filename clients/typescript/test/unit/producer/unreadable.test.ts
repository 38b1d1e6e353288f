import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { type ServerDuplexStream, status as StatusCode, type sendUnaryData } from '@grpc/grpc-js';
import { Producer, SluiceError } from '@sluice/client';
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

const largeBytes = 200_000;
const large = [2, 5, 6];

/** On its first stream it loses what came before a request that it can't read; it never says which one that was. */
function shortSighted(code: number, stored: string[]): Promise<FakeBroker> {
  let streamCount = 0;
  let epoch = 0n;
  return startFakeBroker({
    openProducer({ request }: { request: OpenProducerRequest }, done: sendUnaryData<unknown>) {
      assert.equal(request.currentEpoch, epoch === 0n ? undefined : epoch);
      epoch++;
      done(null, create(OpenProducerResponseSchema, { epoch, lastSequence: BigInt(stored.length) }));
    },
    getTopic(_call: unknown, done: sendUnaryData<unknown>) {
      done(null, create(GetTopicResponseSchema, { topic: { partitionCount: 1 } }));
    },
    getProducer(_call: unknown, done: sendUnaryData<unknown>) {
      done(null, create(GetProducerResponseSchema, { epoch, lastSequence: BigInt(stored.length) }));
    },
    publishStream(call: ServerDuplexStream<PublishStreamRequest, PublishStreamResponse>) {
      const isFirst = ++streamCount === 1;
      let isOver = false;
      call.on('data', ({ batchId, messages, producer }: PublishStreamRequest) => {
        if (isOver) return;
        assert.equal(producer?.epoch, epoch);
        assert.equal(producer.firstSequence, batchId);
        isOver = messages[0]!.payload.length === largeBytes;
        if (isOver) call.emit('error', { code, details: 'can not be read' });
        else if (!isFirst) {
          assert.equal(batchId, BigInt(stored.length + 1));
          const offset = BigInt(stored.length);
          stored.push(Buffer.from(messages[0]!.payload).toString());
          const ranges = [{ partition: 0, firstOffset: offset, lastOffset: offset }];
          call.write(create(PublishStreamResponseSchema, { batchId, messageCount: 1n, ranges }));
        }
      });
      call.on('end', () => call.end());
    },
  });
}

describe('a producer whose request can not be read', () => {
  let broker: FakeBroker;
  afterEach(() => broker.close());

  for (const code of [StatusCode.RESOURCE_EXHAUSTED, StatusCode.INVALID_ARGUMENT]) {
    it(`fails that one alone, where the stream ends with ${StatusCode[code]}`, async () => {
      const stored: string[] = [];
      broker = await shortSighted(code, stored);
      const producer = await Producer.open(broker.client, {
        topic: 't',
        batchMaxMessages: 1,
        retryMinBackoffMs: 1,
      });
      const sending = Array.from({ length: 10 }, (_, i) => {
        const payload = large.includes(i) ? Buffer.alloc(largeBytes) : `${i}`;
        return producer.send({ payload }).then(
          () => 'stored',
          (error: unknown) => SluiceError.from(error).reason,
        );
      });
      const expected = sending.map((_, i) => (large.includes(i) ? StatusCode[code] : 'stored'));
      assert.deepEqual(await Promise.all(sending), expected);
      assert.deepEqual(stored, ['0', '1', '3', '4', '7', '8', '9']);
      await producer.close();
    });
  }
});
