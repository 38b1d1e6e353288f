import assert from 'node:assert/strict';
import { toDuration } from '../../../src/api/duration.js';

describe('toDuration', () => {
  it('is valid for every fraction of a second', () => {
    for (const ms of [0, 1.5, 999.9999999, 1000, 1999.9999999]) {
      const { seconds, nanos } = toDuration(ms);
      assert.ok(nanos >= 0 && nanos <= 999_999_999, `${nanos} nanos for ${ms} ms`);
      assert.equal(Number(seconds), Math.floor(ms / 1000));
    }
  });
});
