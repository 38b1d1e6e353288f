import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { OutgoingMessage } from '@sluice/client';
import { PublishStreamRequestSchema } from '@sluice/client/api';
import fc from 'fast-check';
import { Batch } from '#client/producer/batch.js';
import { MessageEncoder } from '#client/producer/message.js';

const head = { topic: 'orders', partition: undefined, producerId: 'till-4' };
const epoch = 3n;

function batchOf(
  messages: readonly OutgoingMessage[],
  from: Partial<typeof head> | { partition: number } = {},
) {
  const batch = new Batch({ ...head, ...from }, 0);
  const encoder = new MessageEncoder();
  for (const message of messages) {
    const before = batch.byteLength;
    const byteLength = encoder.measure(message);
    batch.add(
      encoder,
      byteLength,
      () => {},
      () => {},
    );
    assert.equal(batch.byteLength - before, byteLength, 'it is as long as was measured');
  }
  batch.firstSequence = 17n;
  return batch;
}

const bytes = (value: Uint8Array | string | undefined) => Buffer.from((value ?? '') as string);

describe('Batch', () => {
  it('is a request as the generated code reads it, whatever the messages are', () => {
    const content = fc.option(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.uint8Array({ maxLength: 300 }),
        fc.string({ minLength: 200 }),
      ),
      { nil: undefined },
    );
    const message = fc.record({
      key: content,
      payload: content,
      headers: fc.option(fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' })), {
        nil: undefined,
      }),
      eventTime: fc.option(
        fc.oneof(
          fc.date({ noInvalidDate: true, min: new Date(-5e12), max: new Date(5e12) }),
          fc.record({
            seconds: fc.bigInt({ min: -62_135_596_800n, max: 253_402_300_799n }),
            nanos: fc.integer({ min: 0, max: 999_999_999 }),
          }),
        ),
        { nil: undefined },
      ),
    });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 20 }), (messages) => {
        const request = fromBinary(
          PublishStreamRequestSchema,
          batchOf(messages as OutgoingMessage[]).encode(epoch),
        );
        assert.equal(request.topic, 'orders');
        assert.equal(request.partition, undefined);
        assert.equal(request.batchId, 17n);
        assert.deepEqual(
          { ...request.producer, $typeName: undefined },
          {
            $typeName: undefined,
            producerId: 'till-4',
            epoch: 3n,
            firstSequence: 17n,
          },
        );
        assert.equal(request.messages.length, messages.length);
        for (const [i, { key, payload, headers, eventTime }] of messages.entries()) {
          const found = request.messages[i]!;
          assert(bytes(key).equals(found.key));
          assert(bytes(payload).equals(found.payload));
          const named = ([name, value]: [string, string]) => `${bytes(name)}=${bytes(value)}`;
          assert.deepEqual(
            Object.entries(found.headers).map(named).sort(),
            Object.entries(headers ?? {})
              .map(named)
              .sort(),
          );
          const time = eventTime instanceof Date ? timestampFromDate(eventTime) : eventTime;
          assert.equal(found.eventTime?.seconds, time?.seconds);
          assert.equal(found.eventTime?.nanos, time?.nanos);
        }
      }),
    );
  });

  it('can be encoded again under other numbers, and leaves what was sent before alone', () => {
    const batch = batchOf([{ payload: 'a' }, { payload: 'b' }], { partition: 0 });
    assert.equal(batch.lastSequence, 18n);
    const first = batch.encode(epoch);
    const before = Buffer.from(first);
    batch.firstSequence = 300_000_000_000n;
    const second = fromBinary(PublishStreamRequestSchema, batch.encode(epoch));
    assert(first.equals(before));
    assert.equal(second.producer?.firstSequence, 300_000_000_000n);
    assert.equal(second.partition, 0);
    assert.deepEqual(
      second.messages.map(({ payload }) => `${Buffer.from(payload)}`),
      ['a', 'b'],
    );
  });

  it('answers every message of it', async () => {
    const encoder = new MessageEncoder();
    const batch = new Batch(head, 0);
    const told: unknown[] = [];
    for (const payload of ['a', 'b']) {
      const byteLength = encoder.measure({ payload });
      batch.add(
        encoder,
        byteLength,
        ({ offset }) => told.push(offset),
        () => told.push('refused'),
      );
    }
    const answered = batch.whenAnswered();
    batch.resolve((i) => ({ partition: 0, offset: BigInt(i), durability: 2, isDuplicate: false }));
    await answered;
    await batch.whenAnswered();
    assert.deepEqual(told, [0n, 1n]);
  });
});
