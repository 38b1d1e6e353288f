import assert from 'node:assert/strict';
import type { HandlerOf } from '../../../src/api/methods.js';
import type { CallContext } from '../../../src/base/call-context.js';
import { Admin, type GetTopicRequest } from '../../../src/gen/sluice/v1/admin_pb.js';
import { Broker } from '../../../src/gen/sluice/v1/broker_pb.js';
import { FakeBroker } from '../../support/fake-broker.js';
import { apiOf } from '../../support/grpc-harness.js';

describe('the table of methods', () => {
  const { services, methods } = apiOf(new FakeBroker());

  it('has a row for every method of every service', () => {
    assert.deepEqual(services, [Broker, Admin]);
    assert.deepEqual(
      methods.map(({ method }) => method),
      services.flatMap((service) => service.methods),
    );
    for (const { kind, method, handler, maxRequestBytes } of methods) {
      assert.equal(kind, method.methodKind, method.name);
      assert.equal(typeof handler, 'function', method.name);
      assert.ok(maxRequestBytes > 0, method.name);
    }
  });

  it('takes handlers of the types that the descriptor names, and no others', () => {
    type GetTopic = HandlerOf<typeof Admin.method.getTopic>;
    const right: GetTopic = ({ name }: GetTopicRequest, _context: CallContext) => ({ topic: { name } });
    // @ts-expect-error: the response has no such field.
    const wrongResponse: GetTopic = () => ({ topics: [] });
    // @ts-expect-error: a request of another method.
    const wrongRequest: GetTopic = ({ subscription }: { subscription: string }) => ({
      topic: { name: subscription },
    });
    // @ts-expect-error: a unary handler for a stream.
    const wrongKind: HandlerOf<typeof Broker.method.consume> = async () => ({});
    assert.equal(new Set([right, wrongResponse, wrongRequest, wrongKind]).size, 4);
  });
});
