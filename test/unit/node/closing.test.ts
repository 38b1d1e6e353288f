import assert from 'node:assert/strict';
import { type ClosingStep, closeInTurn } from '../../../src/node/closing.js';
import { recordingLogger } from '../../support/grpc-harness.js';
import { VirtualClock } from '../../support/virtual-clock.js';

describe('closing', () => {
  it('closes the store although the server before it fails, or never closes', async () => {
    for (const server of [
      () => Promise.reject(new Error('no')),
      () => new Promise<void>(() => {}),
      () => {
        throw new Error('at once');
      },
    ]) {
      const clock = new VirtualClock();
      const logger = recordingLogger();
      const closed: string[] = [];
      const steps: ClosingStep[] = [
        { what: 'server', limitMs: 10, close: server },
        { what: 'store', limitMs: 10, close: async () => void closed.push('store') },
        { what: 'metrics', limitMs: 10, close: async () => void closed.push('metrics') },
      ];
      const closing = closeInTurn(steps, { clock, logger });
      await new Promise(setImmediate);
      clock.advance(10);
      assert.equal(await closing, false);
      assert.deepEqual(closed, ['store', 'metrics']);
      assert.deepEqual(
        logger.errors.map(({ fields }) => (fields as { what: string }).what),
        ['server'],
      );
    }
  });

  it('says that all went well where it did', async () => {
    const steps = [{ what: 'server', limitMs: 10, close: () => Promise.resolve() }];
    assert.equal(await closeInTurn(steps, { clock: new VirtualClock(), logger: recordingLogger() }), true);
  });
});
