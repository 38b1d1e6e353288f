import assert from 'node:assert/strict';
import { backoffMs } from '../../../src/core/backoff.js';
import { defaultPolicy } from './harness.js';

describe('backoffMs', () => {
  const policy = { ...defaultPolicy, minBackoffMs: 100, maxBackoffMs: 1_500 };

  it('doubles from the minimum to the maximum', () => {
    const waits = [1, 2, 3, 4, 5, 6, 10_000].map((attempts) => backoffMs(policy, attempts, 0));
    assert.deepEqual(waits, [100, 200, 400, 800, 1_500, 1_500, 1_500]);
  });

  it('leaves at least half of it to chance', () => {
    assert.equal(backoffMs(policy, 2, 0.5), 150);
    assert.ok(backoffMs(policy, 2, 1 - Number.EPSILON) >= 100);
  });

  it('is nothing where nothing was asked for', () => {
    assert.equal(backoffMs({ ...policy, minBackoffMs: 0 }, 10_000, 0), 0);
  });
});
