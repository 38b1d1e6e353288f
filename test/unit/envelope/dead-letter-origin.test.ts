import assert from 'node:assert/strict';
import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { deadLetterHeaders, originOf } from '../../../src/envelope/dead-letter-origin.js';
import { deadLetterSubscriptionIdField } from '../../../src/envelope/fields.js';
import { PublishRequestSchema } from '../../../src/gen/sluice/v1/broker_pb.js';

/** One encoded `messages` field, and what stands in it behind what an encoder would write. */
function entry(headers: Record<string, string>, payload = new Uint8Array(0)): Buffer {
  const key = Buffer.from('key');
  const eventTime = { seconds: 5n, nanos: 6 };
  const request = create(PublishRequestSchema, { messages: [{ key, payload, headers, eventTime }] });
  return Buffer.from(toBinary(PublishRequestSchema, request));
}

const written = {
  [deadLetterHeaders.topic]: 'orders',
  [deadLetterHeaders.subscription]: 'billing',
  [deadLetterHeaders.partition]: '3',
  [deadLetterHeaders.time]: '2026-02-03T04:05:06.007Z',
};
const timeMs = Date.UTC(2026, 1, 3, 4, 5, 6, 7);
const origin = { topic: 'orders', subscription: 'billing', subscriptionId: undefined, partition: 3, timeMs };

/** The same message with ids of subscriptions behind it. */
function withIds(messagesField: Buffer, ...ids: number[]): Uint8Array {
  const [tag, ...rest] = messagesField;
  const lengthBytes = rest.findIndex((byte) => byte < 0x80) + 1;
  const writer = new BinaryWriter().raw(messagesField.subarray(1 + lengthBytes));
  for (const id of ids) writer.tag(deadLetterSubscriptionIdField, WireType.Varint).uint64(id);
  return new BinaryWriter().uint32(tag!).bytes(writer.finish()).finish();
}

describe('originOf', () => {
  it('finds who gave a message up, among whatever else it has', () => {
    assert.deepEqual(originOf(entry(written)), origin);
    assert.deepEqual(
      originOf(entry({ a: 'b', ...written, '': '', größe: '漢字' }, Buffer.alloc(300))),
      origin,
    );
  });

  it('looks at this message only, whatever follows', () => {
    assert.equal(originOf(Buffer.concat([entry({}), entry(written)])), undefined);
  });

  it('takes the last of headers that stand twice', () => {
    const twice = [
      [deadLetterHeaders.topic, 'first'],
      [deadLetterHeaders.subscription, 'first'],
      [deadLetterHeaders.partition, '1'],
      ...Object.entries(written),
    ] as const;
    const headers = twice.map(([name, value]) => entry({ [name]: value }));
    // Of each, the map entry alone: behind tag and length of the message, and before its event time.
    const fields = headers.map((bytes) => bytes.subarray(bytes.indexOf(0x1a), bytes.lastIndexOf(0x22)));
    const message = Buffer.concat(fields);
    const length = Buffer.of((message.length & 0x7f) | 0x80, message.length >> 7);
    assert.deepEqual(originOf(Buffer.concat([Buffer.of(0x7a), length, message])), origin);
  });

  it('finds the id of the subscription, the last one where there are several', () => {
    assert.deepEqual(originOf(withIds(entry(written), 7)), { ...origin, subscriptionId: 7 });
    assert.equal(originOf(withIds(entry(written), 7, 4_000_000_000))?.subscriptionId, 4_000_000_000);
    assert.equal(originOf(withIds(entry({}), 7)), undefined, 'an id alone, which any producer may write');
  });

  it('knows what is no dead letter', () => {
    assert.equal(originOf(entry({})), undefined);
    assert.equal(originOf(entry({ topic: 'orders', [deadLetterHeaders.topic]: 'orders' })), undefined);
  });
});
