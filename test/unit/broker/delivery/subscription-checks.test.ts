import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import {
  checkConsumerId,
  checkCredit,
  checkDeliverySettings,
} from '../../../../src/broker/delivery/subscription-checks.js';

type Settings = Parameters<typeof checkDeliverySettings>[0];

describe('the check of delivery settings', () => {
  const usual: Settings = {
    ackDeadlineMs: 0,
    minBackoffMs: 0,
    maxBackoffMs: 0,
    deadLetter: { maxAttempts: 0, topic: '', isDisabled: false },
  };
  const check = (change: Partial<Settings>) => checkDeliverySettings({ ...usual, ...change });
  const refuses = (change: Partial<Settings>, subject: string) =>
    assert.throws(() => check(change), { reason: 'INVALID_FIELD', details: { subject } });
  const attempts = (maxAttempts: number) => ({ deadLetter: { ...usual.deadLetter, maxAttempts } });

  it('accepts 0 for the default, and every value up to its bounds', () => {
    check({});
    for (const ackDeadlineMs of [limits.minAckDeadlineMs, limits.maxAckDeadlineMs]) check({ ackDeadlineMs });
    check({ minBackoffMs: limits.maxBackoffMs, maxBackoffMs: limits.maxBackoffMs });
    check({ minBackoffMs: limits.defaultMaxBackoffMs });
    check({ maxBackoffMs: limits.defaultMinBackoffMs });
    for (const count of [1, limits.maxAttempts]) check(attempts(count));
  });

  it('refuses what is beyond them, and no number', () => {
    const { minAckDeadlineMs, maxAckDeadlineMs, maxBackoffMs, maxAttempts } = limits;
    for (const ms of [-1, minAckDeadlineMs - 1, maxAckDeadlineMs + 1, Number.NaN]) {
      refuses({ ackDeadlineMs: ms }, 'ackDeadline');
    }
    for (const ms of [-1, maxBackoffMs + 1, Number.NaN]) {
      refuses({ minBackoffMs: ms }, 'minBackoff');
      refuses({ maxBackoffMs: ms }, 'maxBackoff');
    }
    for (const count of [-1, 0.5, maxAttempts + 1, Number.NaN]) refuses(attempts(count), 'maxAttempts');
  });

  it('refuses a backoff that shrinks, defaults included', () => {
    refuses({ minBackoffMs: 100, maxBackoffMs: 99 }, 'backoff');
    refuses({ minBackoffMs: limits.defaultMaxBackoffMs + 1 }, 'backoff');
    refuses({ maxBackoffMs: limits.defaultMinBackoffMs - 1 }, 'backoff');
  });
});

describe('the check of a consumer id', () => {
  it('accepts any text up to its longest', () => {
    checkConsumerId('');
    checkConsumerId('ä'.repeat(limits.maxConsumerIdLength));
    assert.throws(() => checkConsumerId('x'.repeat(limits.maxConsumerIdLength + 1)), {
      reason: 'INVALID_FIELD',
      details: { subject: 'consumerId' },
    });
  });
});

describe('the check of a credit', () => {
  it('accepts whole numbers, none, and no limit', () => {
    for (const value of [0, 1, limits.maxOffset, Number.POSITIVE_INFINITY]) {
      checkCredit({ messages: value });
      checkCredit({ bytes: value });
    }
    checkCredit({});
  });

  it('refuses every other number', () => {
    for (const value of [-1, 0.5, Number.NaN, Number.NEGATIVE_INFINITY]) {
      const refusal = (subject: string) => ({ reason: 'INVALID_FIELD', details: { subject } });
      assert.throws(() => checkCredit({ messages: value }), refusal('creditMessages'));
      assert.throws(() => checkCredit({ bytes: value }), refusal('creditBytes'));
    }
  });
});
