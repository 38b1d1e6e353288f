import assert from 'node:assert/strict';
import fc from 'fast-check';
import { limits } from '../../../../src/base/limits.js';
import { Pace } from '../../../../src/broker/dead-letters/pace.js';

describe('Pace', () => {
  it('never lets more pass than its rate and one burst, and never holds longer than that takes', () => {
    const rates = fc.double({ min: 0.01, max: 100_000, noNaN: true });
    const stalls = fc.array(fc.integer({ min: 0, max: 5_000 }), { maxLength: 50 });
    fc.assert(
      fc.property(rates, stalls, (rate, stalledMs) => {
        const pace = new Pace(rate);
        let nowMs = 1_000;
        let passed = 0;
        for (const stallMs of stalledMs) {
          const waitMs = pace.waitMs(nowMs);
          assert(waitMs <= (pace.burst * 1_000) / rate + 1e-6);
          nowMs += waitMs;
          assert.equal(pace.waitMs(nowMs), 0);
          pace.taken(pace.burst, nowMs);
          passed += pace.burst;
          assert(passed <= pace.burst + ((nowMs - 1_000) * rate) / 1_000 + 1e-6, 'above the rate');
          nowMs += stallMs;
        }
      }),
    );
  });

  it('lets one pass at once, however low the rate', () => {
    const pace = new Pace(0.5);
    assert.equal(pace.burst, 1);
    assert.equal(pace.waitMs(5), 0);
    pace.taken(1, 5);
    assert.equal(pace.waitMs(5), 2_000);
  });

  it('holds nothing without a rate', () => {
    const pace = new Pace(0);
    assert.equal(pace.burst, limits.redriveBatchMessages);
    for (const nowMs of [0, 0, 7]) {
      pace.taken(1_000, nowMs);
      assert.equal(pace.waitMs(nowMs), 0);
    }
  });
});
