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
    for (const { kind, method, handler, maxRequestBytes, isLookup } of methods) {
      assert.equal(kind, method.methodKind, method.name);
      assert.equal(typeof handler, 'function', method.name);
      assert.ok(maxRequestBytes > 0, method.name);
      assert.equal(isLookup, /^(Get|List)/.test(method.name), method.name);
    }
  });
});

/**
 * A row takes handlers of the types that its descriptor names, and no others. The compiler checks it in `make build`: an
 * expected error that does not occur is an error. Nothing here runs.
 */
function takesHandlersOfItsTypes(): void {
  const getTopic = (_handler: HandlerOf<typeof Admin.method.getTopic>) => {};
  const consume = (_handler: HandlerOf<typeof Broker.method.consume>) => {};
  getTopic(({ name }: GetTopicRequest, _context: CallContext) => ({ topic: { name } }));
  // @ts-expect-error: the response has no such field.
  getTopic(() => ({ topics: [] }));
  // @ts-expect-error: a request of another method.
  getTopic(({ subscription }: { subscription: string }) => ({ topic: { name: subscription } }));
  // @ts-expect-error: a unary handler for a stream.
  consume(async () => ({}));
}
void takesHandlersOfItsTypes;
