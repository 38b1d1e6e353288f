import assert from 'node:assert/strict';
import {
  create,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { status } from '@grpc/grpc-js';
import {
  Admin,
  CreateSubscriptionRequestSchema,
  SubscriptionSchema,
  TopicSchema,
} from '../../src/gen/sluice/v1/admin_pb.js';
import {
  AcknowledgeRequestSchema,
  Broker,
  ConsumeRequestSchema,
  type PublishStreamResponse,
  SettlementSchema,
} from '../../src/gen/sluice/v1/broker_pb.js';
import { FakeBroker } from '../support/fake-broker.js';
import { type Harness, receivedError, startHarness, TestStream } from '../support/grpc-harness.js';

/** A message with a field that a later version may have, behind those that it has. */
function withField<D extends DescMessage>(schema: D, init: MessageInitShape<D>, field: number): Uint8Array {
  const writer = new BinaryWriter().raw(toBinary(schema, create(schema, init)));
  return writer.tag(field, WireType.LengthDelimited).string('later').finish();
}

/** A request that holds an encoded message in this field. */
function holding(field: number, message: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(message).finish();
}

describe('fields that this broker does not know', () => {
  let harness: Harness;
  before(async () => {
    harness = await startHarness(new FakeBroker());
  });
  after(() => harness.close());

  async function send(method: DescMethod, bytes: Uint8Array) {
    const stream = new TestStream(harness.client, method);
    stream.sendBytes(bytes);
    stream.halfClose();
    return stream;
  }

  async function refusal(method: DescMethod, bytes: Uint8Array) {
    const { error } = receivedError(await (await send(method, bytes)).status);
    assert.equal(error.reason, 'UNIMPLEMENTED');
    return { field: error.details.field, message: error.message };
  }

  for (const method of [...Broker.methods, ...Admin.methods]) {
    if (method === Broker.method.publishStream) continue;
    it(`are refused in a request of ${method.name}`, async () => {
      const { field, message } = await refusal(method, withField(method.input, {}, 900));
      assert.equal(field, '900');
      assert.match(message, new RegExp(`field 900 of ${method.input.typeName}`));
    });
  }

  it('are refused in a batch of PublishStream, and the stream goes on', async () => {
    const { publishStream } = Broker.method;
    const stream = await send(
      publishStream,
      withField(publishStream.input, { topic: 't', batchId: 7n }, 900),
    );
    const response = (await stream.responses.next()) as PublishStreamResponse;
    assert.deepEqual([response.batchId, response.error?.reason], [7n, 'UNIMPLEMENTED']);
    assert.equal(response.error?.code, status.UNIMPLEMENTED);
    assert.equal((await stream.status).code, status.OK);
  });

  it('are refused in the messages of a request, with the way to them', async () => {
    const { method } = Admin;
    const topic = holding(1, withField(TopicSchema, { name: 'a', partitionCount: 1 }, 8));
    assert.equal((await refusal(method.createTopic, topic)).field, 'topic.8');
    assert.equal((await refusal(method.updateTopic, topic)).field, 'topic.8');
    const backlogLimit = holding(1, holding(4, holding(4, new Uint8Array(0))));
    assert.equal((await refusal(method.createTopic, backlogLimit)).field, 'topic.backlog_limit.4');
    const subscription = holding(1, withField(SubscriptionSchema, { topic: 'a', name: 'b' }, 9));
    assert.equal((await refusal(method.createSubscription, subscription)).field, 'subscription.9');
    assert.equal((await refusal(method.updateSubscription, subscription)).field, 'subscription.9');
    const snapshot = new BinaryWriter()
      .raw(
        toBinary(
          CreateSubscriptionRequestSchema,
          create(CreateSubscriptionRequestSchema, { subscription: { topic: 'a', name: 'b' } }),
        ),
      )
      .raw(holding(2, holding(4, Buffer.from('of a snapshot'))))
      .finish();
    assert.equal((await refusal(method.createSubscription, snapshot)).field, 'start.4');
  });

  it('are refused in settlements, in whichever of them', async () => {
    const offsets = { partition: 0, firstOffset: 1n, lastOffset: 1n };
    const ack = { offsets, outcome: { case: 'ack' as const, value: {} } };
    const later = holding(2, withField(SettlementSchema, ack, 9));
    const requests = [
      [Broker.method.acknowledge, AcknowledgeRequestSchema],
      [Broker.method.consume, ConsumeRequestSchema],
    ] as const;
    for (const [method, schema] of requests) {
      const first =
        method === Broker.method.consume
          ? { subscribe: { topic: 't', subscription: 's' } }
          : { sessionId: 's' };
      const known = toBinary(schema, create(schema, { ...first, settlements: [ack] }));
      const bytes = new BinaryWriter().raw(known).raw(later).finish();
      assert.equal((await refusal(method, bytes)).field, 'settlements.9');
    }
    const outcome = holding(2, new BinaryWriter().raw(holding(3, holding(7, new Uint8Array(0)))).finish());
    assert.equal((await refusal(Broker.method.acknowledge, outcome)).field, 'settlements.nack.7');
  });
});
