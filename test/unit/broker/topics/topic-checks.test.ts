import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import type { TopicConfig } from '../../../../src/base/model.js';
import { checkTopic } from '../../../../src/broker/topics/topic-checks.js';
import { topicOf } from '../prompt-broker.js';

type Input = Omit<TopicConfig, 'createTimeMs'>;

describe('the check of a topic', () => {
  const usual = topicOf('orders');
  const check = (change: Partial<Input>) => checkTopic({ ...usual, ...change }, 8);
  const refuses = (change: Partial<Input>, subject: string) =>
    assert.throws(() => check(change), { reason: 'INVALID_FIELD', details: { subject } });

  it('accepts every limit up to its bounds', () => {
    for (const partitionCount of [1, 8]) check({ partitionCount });
    for (const limit of [0, limits.maxOffset]) {
      check({ retention: { ...usual.retention, maxAgeMs: limit, maxBytes: limit } });
      check({ backlogLimit: { ...usual.backlogLimit, maxBytes: limit, maxMessages: limit } });
    }
  });

  it('refuses what is beyond them, and no number', () => {
    for (const partitionCount of [0, 9, 1.5, Number.NaN]) {
      assert.throws(() => check({ partitionCount }), {
        reason: 'INVALID_FIELD',
        details: { subject: 'partitionCount', metadata: { maxPartitionCount: '8' } },
      });
    }
    for (const limit of [-1, limits.maxOffset + 1, Number.NaN]) {
      refuses({ retention: { ...usual.retention, maxAgeMs: limit } }, 'retentionAge');
      refuses({ retention: { ...usual.retention, maxBytes: limit } }, 'retentionBytes');
      refuses({ backlogLimit: { ...usual.backlogLimit, maxBytes: limit } }, 'backlogBytes');
      refuses({ backlogLimit: { ...usual.backlogLimit, maxMessages: limit } }, 'backlogMessages');
    }
    refuses({ retention: { ...usual.retention, maxBytes: 0.5 } }, 'retentionBytes');
  });
});
