import assert from 'node:assert/strict';
import type { Call } from '../../../../src/api/call.js';
import type { HandlerServices } from '../../../../src/api/sluice-v1/handler-services.js';
import { PublishingCall } from '../../../../src/api/sluice-v1/publishing-call.js';
import type { PublishRequestSchema, PublishResponseSchema } from '../../../../src/gen/sluice/v1/broker_pb.js';

class TestCall extends PublishingCall<typeof PublishRequestSchema, typeof PublishResponseSchema> {
  protected publish(): void {}
  protected endWhenDone(): void {}
}

describe('a publishing call', () => {
  it('takes no window when the broker opens no publisher', () => {
    let enteredCount = 0;
    const windows = {
      enter: () => {
        enteredCount += 1;
      },
    };
    const call = { context: { peer: '10.0.0.1:1' }, windows } as unknown as Call<
      typeof PublishResponseSchema
    >;
    const broker = {
      openPublisher: () => {
        throw new Error('no publisher');
      },
    };
    const services = { broker, scanLimits: {} } as unknown as HandlerServices;
    assert.throws(() => new TestCall(call, services, 'Publish'), /no publisher/);
    assert.equal(enteredCount, 0);
  });
});
