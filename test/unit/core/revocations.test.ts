import assert from 'node:assert/strict';
import type { DeliveryPolicy } from '../../../src/core/types.js';
import { Harness } from './harness.js';

/** `session partition:first-last`, of everything that was taken back since it was last asked. */
function revoked(h: Harness): string[] {
  return h
    .effects()
    .revocations.flatMap(({ sessionId, offsets }) =>
      offsets.map(({ partition, first, last }) => `${sessionId} ${partition}:${first}-${last}`),
    );
}

function delivered(policy: Partial<DeliveryPolicy>, keys: readonly number[]): Harness {
  const h = new Harness(policy);
  h.partition(0, 0);
  h.append(0, keys);
  h.open('a');
  h.deliverAll('a');
  h.effects();
  return h;
}

describe('what is taken back from a session', () => {
  it('is what stands behind a nack in its partition, and not the nacked message', () => {
    const h = delivered({}, [0, 0, 0, 0, 0]);
    h.settle('a', 0, 0, 0);
    h.nack('a', 0, 2);
    assert.deepEqual(revoked(h), ['a 0:3-4']);
  });

  it('is nothing when a message was nacked for the last time: nothing else has to wait for it', () => {
    const h = delivered({ maxAttempts: 1 }, [0, 0, 0]);
    h.nack('a', 0, 1);
    assert.deepEqual(revoked(h), []);
    assert.equal(h.outstanding('a'), 2);
  });

  it('is what has the same key behind a nack, in ordering by key', () => {
    const h = delivered({ ordering: 'key' }, [7, 8, 7, 0, 7, 8]);
    h.nack('a', 0, 0);
    assert.deepEqual(revoked(h), ['a 0:2-2', 'a 0:4-4']);
  });

  it('is nothing behind a nack without ordering', () => {
    const h = delivered({ ordering: 'none' }, [0, 0, 0]);
    h.nack('a', 0, 0);
    assert.deepEqual(revoked(h), []);
  });

  it('is a lease that has lapsed, with what stands behind it', () => {
    const h = delivered({}, [0, 0, 0]);
    h.settle('a', 0, 1, 2, { kind: 'extend', byMs: 5_000 });
    h.advance(1_000);
    assert.deepEqual(revoked(h), ['a 0:0-2']);
  });

  it('is everything when the subscription is moved', () => {
    const h = delivered({}, [0, 0, 0]);
    h.subscription.seek(0, 1, h.nowMs);
    assert.deepEqual(revoked(h), ['a 0:0-2']);
  });

  it('is what retention has dropped', () => {
    const h = delivered({}, [0, 0, 0]);
    h.subscription.setFirst(0, 2);
    assert.deepEqual(revoked(h), ['a 0:0-1']);
  });

  it('is not told to a session that has ended', () => {
    const h = delivered({}, [0, 0, 0]);
    h.advance(1_000);
    h.close('a');
    assert.deepEqual(revoked(h), []);
  });
});
