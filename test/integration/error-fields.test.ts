import assert from 'node:assert/strict';
import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  type DescMethodUnary,
  type Message,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf';
import { DurationSchema, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { Client, credentials } from '@grpc/grpc-js';
import { Admin } from '../../src/gen/sluice/v1/admin_pb.js';
import { Broker } from '../../src/gen/sluice/v1/broker_pb.js';
import { fromStatus } from '../../src/transport/grpc/status.js';
import { BrokerProcess } from '../support/broker-process.js';
import { hasFieldPath } from '../support/field-path.js';
import { callUnary, TestStream } from '../support/grpc-harness.js';

type Value = unknown;

/** A name that is valid as a topic, a subscription and a producer. */
const name = 'orders';

/** Values that no field, or only few fields, may have. */
function badValues(field: DescField): Value[] {
  if (field.message?.typeName === DurationSchema.typeName) {
    return [{ seconds: -1n }, { nanos: 2_000_000_000 }, { seconds: 10n ** 10n }, {}];
  }
  if (field.message?.typeName === TimestampSchema.typeName) return [{ nanos: -1 }];
  if (field.fieldKind === 'enum' || (field.fieldKind === 'list' && field.enum !== undefined)) return [99];
  switch (field.scalar) {
    case ScalarType.STRING:
      return ['', 'a/b', 'x'.repeat(3_000)];
    case ScalarType.UINT64:
      return [0n, 2n ** 64n - 1n];
    case ScalarType.UINT32:
      return [0, 0xffff_ffff];
    case ScalarType.DOUBLE:
      return [-1, Number.NaN];
    case ScalarType.BOOL:
      return [true];
    case ScalarType.BYTES:
      return [new Uint8Array(5_000)];
    default:
      return [];
  }
}

/** A message with valid names, and everything else as it is when it is not set. */
function plain(schema: DescMessage): Record<string, Value> {
  const values: Record<string, Value> = {};
  for (const field of schema.fields) {
    if (field.name === 'page_token' || field.oneof !== undefined) continue;
    if (field.fieldKind === 'scalar' && field.scalar === ScalarType.STRING) values[field.localName] = name;
    else if (field.fieldKind === 'message' && /^(topic|subscription|subscribe)$/.test(field.name)) {
      values[field.localName] = plain(field.message);
    }
  }
  return values;
}

/** The plain message with one thing changed, for each field and each bad value, also of messages inside. */
function* variants(schema: DescMessage): Generator<Record<string, Value>> {
  yield {};
  const base = plain(schema);
  yield base;
  for (const field of schema.fields) {
    const isOwn = field.message !== undefined && !/Duration|Timestamp/.test(field.message.typeName);
    const values = isOwn && field.fieldKind !== 'map' ? variants(field.message!) : badValues(field);
    for (const value of values) {
      const own = field.fieldKind === 'list' ? [value] : value;
      const { oneof } = field;
      yield oneof === undefined
        ? { ...base, [field.localName]: own }
        : { ...base, [oneof.localName]: { case: field.localName, value: messageOf(field, own) } };
    }
  }
}

/** `create` converts plain objects everywhere but in a oneof. */
function messageOf(field: DescField, value: Value): Value {
  return field.message === undefined ? value : create(field.message, value as Record<string, unknown>);
}

describe('the field that an error names', () => {
  let broker: BrokerProcess;
  let client: Client;
  before(async () => {
    broker = await BrokerProcess.start({ args: ['--max-opens-per-second', '100000'] });
    client = new Client(broker.address, credentials.createInsecure());
    // The default dead-letter topic of subscription "orders" of topic "orders" has its dead letters go back.
    const topic = `${name}.${name}.dead-letter`;
    await callUnary(client, Admin.method.createSubscription, {
      subscription: { topic, name: 'back', deadLetter: { topic: name } },
    });
  });
  after(async () => {
    client.close();
    await broker.dispose();
  });

  /** The field that the answer to this request names, if it is an error of a field. */
  async function fieldAtFault(method: DescMethod, request: Message): Promise<string | undefined> {
    const stream = new TestStream(client, method as DescMethodUnary<DescMessage, DescMessage>);
    stream.sendBytes(toBinary(method.input, request));
    stream.halfClose();
    const end = await Promise.race([
      stream.status,
      // A request in order begins a stream that lasts.
      stream.responses.next().then(() => undefined),
    ]);
    stream.cancel();
    return end === undefined ? undefined : fromStatus(end)?.error.details.field;
  }

  for (const method of [...Broker.methods, ...Admin.methods]) {
    it(`exists in the request: ${method.name}`, async () => {
      const fields = new Set<string>();
      for (const values of variants(method.input)) {
        const field = await fieldAtFault(method, create(method.input, values) as Message);
        if (field === undefined) continue;
        fields.add(field);
        assert(hasFieldPath(method.input, field), `${field} for ${method.name}`);
      }
      // PublishStream answers refused batches, and names no fields there.
      const hasNames = method.input.fields.some((field) => /^(topic|name|subscri)/.test(field.name));
      if (hasNames && method.name !== 'PublishStream') assert(fields.size > 0, 'no request was refused');
    });
  }
});
