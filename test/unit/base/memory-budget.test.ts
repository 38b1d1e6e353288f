import assert from 'node:assert/strict';
import { limits } from '../../../src/base/limits.js';
import { divideBudget, smallestRestBytes } from '../../../src/base/memory-budget.js';

describe('the budget of everything in flight', () => {
  for (const [name, restBytes] of [
    ['by default', limits.maxInFlightBytes - limits.writerQueueBytes - limits.tailBytes],
    ['at the least that the settings allow', smallestRestBytes],
  ] as const) {
    it(`adds up to the setting, with what is kept to be used again: ${name}`, () => {
      const { writerQueueBytes, tailBytes, spareRoundBytes, spareFrameBytes } = limits;
      const maxInFlightBytes = writerQueueBytes + tailBytes + restBytes;
      const parts = divideBudget({ maxInFlightBytes, writerQueueBytes, tailBytes });
      const shared = Object.values(parts).reduce((sum, part) => sum + part, 0);
      assert.equal(
        writerQueueBytes + tailBytes + spareRoundBytes + spareFrameBytes + shared,
        maxInFlightBytes,
      );
      for (const part of Object.values(parts)) assert(part > 0);
    });
  }
});
