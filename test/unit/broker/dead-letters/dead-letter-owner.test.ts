import assert from 'node:assert/strict';
import { isOwn } from '../../../../src/broker/dead-letters/dead-letter-owner.js';

const timeMs = Date.parse('2026-01-02T03:04:05.678Z');
const origin = {
  topic: 'orders',
  subscription: 'billing',
  subscriptionId: undefined,
  partition: 3,
  timeMs,
};

describe('isOwn', () => {
  const owner = { topic: 'orders', subscription: 'billing', subscriptionId: 7, createTimeMs: timeMs };

  it('goes by the id where there is one', () => {
    assert.equal(isOwn({ ...origin, subscriptionId: 7, timeMs: timeMs - 1 }, owner), true);
    assert.equal(isOwn({ ...origin, subscriptionId: 6 }, owner), false);
  });

  it('goes by the time where there is none', () => {
    assert.equal(isOwn(origin, owner), true);
    assert.equal(isOwn({ ...origin, timeMs: timeMs - 1 }, owner), false);
    assert.equal(isOwn({ ...origin, timeMs: Number.NaN }, owner), true);
  });

  it('is false of other names, whatever the id', () => {
    assert.equal(isOwn({ ...origin, topic: 'other', subscriptionId: 7 }, owner), false);
    assert.equal(isOwn({ ...origin, subscription: 'other', subscriptionId: 7 }, owner), false);
  });
});
