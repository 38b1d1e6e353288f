import assert from 'node:assert/strict';
import { create, toBinary } from '@bufbuild/protobuf';
import { letterHeaders, originOf } from '../../../src/broker/letter-origin.js';
import { PublishRequestSchema } from '../../../src/gen/sluice/v1/broker_pb.js';

/** One encoded `messages` field, and what stands in it behind what an encoder would write. */
function entry(headers: Record<string, string>, payload = new Uint8Array(0)): Buffer {
  const key = Buffer.from('key');
  const eventTime = { seconds: 5n, nanos: 6 };
  const request = create(PublishRequestSchema, { messages: [{ key, payload, headers, eventTime }] });
  return Buffer.from(toBinary(PublishRequestSchema, request));
}

const written = {
  [letterHeaders.topic]: 'orders',
  [letterHeaders.subscription]: 'billing',
  [letterHeaders.partition]: '3',
};
const origin = { topic: 'orders', subscription: 'billing', partition: 3 };

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
      [letterHeaders.topic, 'first'],
      [letterHeaders.subscription, 'first'],
      [letterHeaders.partition, '1'],
      ...Object.entries(written),
    ] as const;
    const headers = twice.map(([name, value]) => entry({ [name]: value }));
    // Of each, the map entry alone: behind tag and length of the message, and before its event time.
    const fields = headers.map((bytes) => bytes.subarray(bytes.indexOf(0x1a), bytes.lastIndexOf(0x22)));
    const message = Buffer.concat(fields);
    const length = Buffer.of((message.length & 0x7f) | 0x80, message.length >> 7);
    assert.deepEqual(originOf(Buffer.concat([Buffer.of(0x7a), length, message])), origin);
  });

  it('knows what is no dead letter', () => {
    assert.equal(originOf(entry({})), undefined);
    assert.equal(originOf(entry({ topic: 'orders', [letterHeaders.topic]: 'orders' })), undefined);
  });
});
