import assert from 'node:assert/strict';
import fc from 'fast-check';
import { fairShare } from '../../../src/base/fair-share.js';

const bounds = { totalBytes: 64_000, smallestBytes: 10, largestBytes: 1_000 };

describe('fairShare', () => {
  it('gives the largest part while there are few, and then less', () => {
    assert.equal(fairShare(bounds, 0), 1_000);
    assert.equal(fairShare(bounds, 8), 1_000);
    assert.equal(fairShare(bounds, 16), 500);
    assert.equal(fairShare(bounds, 1_000_000), 10);
  });

  it('stays within the total, however those who share it come and keep what they took', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 800 }), (count) => {
        let sum = 0;
        for (let i = 1; i <= count; i++) sum += fairShare(bounds, i);
        assert.ok(sum <= bounds.totalBytes, `${count} hold ${sum}`);
      }),
    );
  });
});
