import assert from 'node:assert/strict';
import { Backoff, pause } from '#client/backoff.js';

describe('Backoff', () => {
  it('doubles with jitter up to the longest, and begins anew after a success', () => {
    const backoff = new Backoff({ retryMinBackoffMs: 50, retryMaxBackoffMs: 400 });
    for (const mostMs of [50, 100, 200, 400, 400]) {
      const waitMs = backoff.nextMs();
      assert(waitMs >= mostMs / 2 && waitMs <= mostMs, `${waitMs} of ${mostMs} ms`);
    }
    backoff.reset();
    assert(backoff.nextMs() <= 50);
  });

  it('waits at least as long as the broker asks, and no longer than it has to', () => {
    const backoff = new Backoff({ retryMinBackoffMs: 50, retryMaxBackoffMs: 400 });
    assert.equal(backoff.nextMs(1_000), 1_000);
    assert(backoff.nextMs(1) >= 50);
  });
});

describe('pause', () => {
  it('ends when it is called off, also before it began', async () => {
    const controller = new AbortController();
    const long = pause(3_600_000, controller.signal);
    controller.abort();
    await long;
    await pause(3_600_000, controller.signal);
    await pause(1);
  });
});
