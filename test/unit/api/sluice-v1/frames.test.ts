import assert from 'node:assert/strict';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import type { Call } from '../../../../src/api/call.js';
import { encodeRuns, runsTag, sendRuns } from '../../../../src/api/sluice-v1/frames.js';
import { SpareMemory, smallestSpareBlockBytes } from '../../../../src/base/spare-memory.js';
import type { DeliveredRun } from '../../../../src/broker/types.js';
import {
  ConsumeResponseSchema,
  PublishRequestSchema,
  ReadResponseSchema,
  SubscribeResponseSchema,
} from '../../../../src/gen/sluice/v1/broker_pb.js';
import type { StoredRun } from '../../../../src/storage/types.js';
import { frame } from '../../../support/grpc-framing.js';

/** A run as the store keeps it: the `messages` fields of a request, one behind the other. */
function storedRun(
  fields: Omit<StoredRun, 'messages' | 'ends' | 'count'>,
  payloads: Uint8Array[],
): StoredRun {
  const encoded = payloads.map((payload) =>
    toBinary(PublishRequestSchema, create(PublishRequestSchema, { messages: [{ payload }] })),
  );
  let end = 0;
  const ends = Uint32Array.from(encoded, (bytes) => {
    end += bytes.length;
    return end;
  });
  return { ...fields, count: payloads.length, messages: Buffer.concat(encoded), ends };
}

const plainFields = {
  partition: 0,
  firstOffset: 0,
  publishTimeMs: 1,
  producerId: '',
  targetSubscriptionId: 0,
};

const arbitraryDelivery: fc.Arbitrary<DeliveredRun> = fc
  .record({
    partition: fc.nat(15),
    firstOffset: fc.oneof(
      fc.nat(300),
      fc.nat(2 ** 31),
      fc.maxSafeNat().map((n) => Math.floor(n / 2)),
    ),
    publishTimeMs: fc.oneof(fc.constantFrom(0, 999, 1000), fc.integer({ min: 1, max: 4_102_444_800_000 })),
    producerId: fc.oneof(fc.constant(''), fc.stringMatching(/^[a-z]{1,200}$/)),
    targetSubscriptionId: fc.constant(0),
    attempt: fc.nat(300),
    deliveryId: fc.nat(2 ** 40),
    payloads: fc.array(fc.uint8Array({ maxLength: 200 }), { minLength: 1, maxLength: 10 }),
    cut: fc.tuple(fc.nat(), fc.nat()),
  })
  .map(({ attempt, deliveryId, payloads, cut, ...fields }) => {
    const from = cut[0] % payloads.length;
    const to = from + 1 + (cut[1] % (payloads.length - from));
    return { run: storedRun(fields, payloads), from, to, attempt, deliveryId };
  });

function expected({ run, from, to, attempt, deliveryId }: DeliveredRun) {
  return {
    partition: run.partition,
    firstOffset: BigInt(run.firstOffset + from),
    publishTime: timestampFromMs(run.publishTimeMs),
    producerId: run.producerId,
    attempt,
    deliveryId: BigInt(deliveryId),
    messages: fromBinary(PublishRequestSchema, run.messages).messages.slice(from, to),
  };
}

describe('a response with runs', () => {
  it('writes what a decoder of each response reads', () => {
    fc.assert(
      fc.property(fc.array(arbitraryDelivery, { maxLength: 5 }), (runs) => {
        for (const schema of [SubscribeResponseSchema, ConsumeResponseSchema, ReadResponseSchema]) {
          const bytes = encodeRuns(runsTag[schema.typeName.slice(10) as keyof typeof runsTag], runs);
          assert.deepEqual(fromBinary(schema, bytes), create(schema, { runs: runs.map(expected) }));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('writes nothing that a canonical encoder would not write', () => {
    const run = storedRun(
      { partition: 0, firstOffset: 0, publishTimeMs: 5000, producerId: '', targetSubscriptionId: 0 },
      [Uint8Array.of(1)],
    );
    const bytes = encodeRuns(runsTag.ReadResponse, [{ run, from: 0, to: 1, attempt: 0, deliveryId: 0 }]);
    const canonical = toBinary(ReadResponseSchema, fromBinary(ReadResponseSchema, bytes));
    assert.deepEqual([...bytes], [...canonical]);
  });

  it('leaves a run of any size whole', () => {
    const payload = new Uint8Array(900_000).fill(3);
    const run = storedRun(
      { partition: 1, firstOffset: 9, publishTimeMs: 1, producerId: 'p', targetSubscriptionId: 0 },
      [payload, payload],
    );
    const bytes = encodeRuns(runsTag.ReadResponse, [{ run, from: 0, to: 2, attempt: 1, deliveryId: 1 }]);
    const [decoded] = fromBinary(ReadResponseSchema, bytes).runs;
    assert.deepEqual(
      decoded?.messages.map((message) => message.payload.length),
      [900_000, 900_000],
    );
  });

  it('is sent in a frame whose memory is used again once it has left, and not before', () => {
    const fields = { partition: 3, publishTimeMs: 77_000, producerId: 'p', targetSubscriptionId: 0 };
    const payload = new Uint8Array(smallestSpareBlockBytes);
    const runs = [
      { run: storedRun({ ...fields, firstOffset: 5 }, [payload]), from: 0, to: 1, attempt: 1, deliveryId: 1 },
      { run: storedRun({ ...fields, firstOffset: 9 }, [payload]), from: 0, to: 1, attempt: 2, deliveryId: 2 },
    ];
    const memory = new SpareMemory(1_000_000);
    const sent: { bytes: Buffer; written: () => void }[] = [];
    let isOver = false;
    const call = {
      get isOver() {
        return isOver;
      },
      send: () => assert.fail('was copied'),
      sendFramed: (bytes: Buffer, written: () => void) => sent.push({ bytes, written }),
    } as unknown as Call;
    let writtenCount = 0;
    const send = () => {
      sendRuns(call, memory, runsTag.ConsumeResponse, runs, () => writtenCount++);
      return sent.at(-1)!;
    };
    const first = send();
    assert.deepEqual(first.bytes, frame(encodeRuns(runsTag.ConsumeResponse, runs)));
    const second = send();
    assert.notEqual(second.bytes.buffer, first.bytes.buffer);
    first.written();
    assert.equal(writtenCount, 1);
    assert.equal(send().bytes.buffer, first.bytes.buffer);
    assert.deepEqual(second.bytes, first.bytes);
    isOver = true;
    second.written();
    assert.equal(memory.spareBytes, 0, 'part of it may still be with the socket');
  });

  it('is copied where it is too small for that', () => {
    const runs = [
      { run: storedRun(plainFields, [Buffer.from('small')]), from: 0, to: 1, attempt: 1, deliveryId: 1 },
    ];
    const sent: Buffer[] = [];
    const call = { send: (bytes: Buffer) => sent.push(Buffer.from(bytes)) } as unknown as Call;
    sendRuns(call, new SpareMemory(1_000_000), runsTag.ReadResponse, runs, () => {});
    assert.deepEqual(sent, [Buffer.from(encodeRuns(runsTag.ReadResponse, runs))]);
  });

  it('refuses a run whose memory is in use for another', () => {
    const run = storedRun(plainFields, [Buffer.from('small')]);
    const messages = Uint8Array.from(run.messages);
    structuredClone(messages.buffer, { transfer: [messages.buffer] });
    const delivered = { run: { ...run, messages }, from: 0, to: 1, attempt: 0, deliveryId: 0 };
    assert.throws(() => encodeRuns(runsTag.ReadResponse, [delivered]), /in use for another/);
  });
});
