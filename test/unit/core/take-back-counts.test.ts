import assert from 'node:assert/strict';
import { TakeBackCounts } from '../../../src/core/take-back-counts.js';

describe('TakeBackCounts', () => {
  it('knows the largest count of a range', () => {
    const counts = new TakeBackCounts();
    counts.set(5, 9, 1);
    counts.set(7, 7, 3);
    assert.equal(counts.largest(0, 4), 0);
    assert.equal(counts.largest(5, 6), 1);
    assert.equal(counts.largest(6, 8), 3);
    assert.equal(counts.largest(8, 20), 1);
  });

  it('forgets what is removed', () => {
    const counts = new TakeBackCounts();
    counts.set(5, 9, 2);
    counts.remove(7, 7);
    assert.equal(counts.largest(7, 7), 0);
    assert.equal(counts.largest(5, 9), 2);
    counts.clear();
    assert.equal(counts.largest(5, 9), 0);
  });

  it('does not count beyond what doubles a wait for ever', () => {
    const counts = new TakeBackCounts();
    counts.set(0, 0, 1_000);
    assert.equal(counts.largest(0, 0), 30);
  });
});
