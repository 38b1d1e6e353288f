import assert from 'node:assert/strict';
import { fieldOf } from '../../../src/api/sluice-v1/error-fields.js';
import { SluiceError } from '../../../src/base/errors.js';
import { limits } from '../../../src/base/limits.js';
import type { Outcome } from '../../../src/core/types.js';
import { AcknowledgeRequestSchema } from '../../../src/gen/sluice/v1/broker_pb.js';
import { Harness, messageBytes } from './harness.js';

describe('settling', () => {
  it('splits leases, and reports what the session does not hold and is not settled', () => {
    const h = new Harness();
    h.partition(0, 10);
    h.open('a', { messages: 6, bytes: 1_000 });
    h.deliver('a');
    assert.deepEqual(h.settle('a', 0, 1, 2), { settledCount: 2, stale: [] });
    assert.deepEqual(h.settle('a', 0, 0, 1_000), {
      settledCount: 4,
      stale: [{ partition: 0, first: 6, last: 9 }],
    });
    assert.deepEqual(h.settle('a', 0, 0, 5), { settledCount: 0, stale: [] }, 'settled already');
    assert.equal(h.subscription.cursor(0).acknowledgedOffset, 6);
  });

  it('never lets a stale settlement touch what another session holds', () => {
    const h = new Harness();
    h.partition(0, 3);
    h.open('a');
    h.deliver('a');
    h.open('b');
    h.advance(1_000);
    h.close('a');
    h.advance(1_000);
    h.deliver('b');
    h.open('c');
    const stale = [{ partition: 0, first: 0, last: 2 }];
    assert.deepEqual(h.settle('c', 0, 0, 2), { settledCount: 0, stale });
    assert.deepEqual(h.nack('c', 0, 0, 2), { settledCount: 0, stale });
    assert.deepEqual(h.settle('c', 0, 0, 2, { kind: 'extend', byMs: 5_000 }), { settledCount: 0, stale });
    assert.equal(h.outstanding('b'), 3);
  });

  it('leaves alone what was delivered after the last delivery that the consumer knew, and says that it is stale', () => {
    for (const outcome of [
      { kind: 'ack' },
      { kind: 'nack', delayMs: 0 },
      { kind: 'extend', byMs: 9_000 },
      { kind: 'deadLetter', reason: 'late' },
    ] as const satisfies readonly Outcome[]) {
      const h = new Harness({ ordering: 'none', minBackoffMs: 0 });
      h.partition(0, 2);
      h.open('a', { messages: 1, bytes: 1_000 });
      const { deliveryId } = h.leaseNext('a');
      h.subscription.sent(deliveryId, h.nowMs);
      h.advance(1_000);
      assert.deepEqual(h.deliver('a'), ['0:0#2']);
      const settle = (lastDeliveryId: number) =>
        h.subscription.settle('a', [{ partition: 0, first: 0, last: 0, outcome }], h.nowMs, lastDeliveryId);
      const { wakeAtMs } = h.subscription;
      const stale = [{ partition: 0, first: 0, last: 0 }];
      assert.deepEqual(settle(deliveryId), { settledCount: 0, stale }, outcome.kind);
      assert.deepEqual([h.outstanding('a'), h.subscription.wakeAtMs], [1, wakeAtMs]);
      assert.deepEqual(settle(deliveryId + 1).stale, [], outcome.kind);
    }
  });

  it('calls stale what contradicts an acknowledgement, and asks about it where there are dead letters', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 4);
    h.open('a');
    h.deliver('a');
    h.settle('a', 0, 1, 2);
    const stale = [{ partition: 0, first: 1, last: 2 }];
    const others = [
      { kind: 'extend', byMs: 1 },
      { kind: 'nack' },
      { kind: 'deadLetter', reason: 'no' },
    ] as const satisfies readonly Outcome[];
    assert.deepEqual(h.settle('a', 0, 1, 2), { settledCount: 0, stale: [] });
    for (const outcome of others) {
      assert.deepEqual(h.settle('a', 0, 1, 2, outcome), { settledCount: 0, stale }, outcome.kind);
    }
    h.settle('a', 0, 3, 3, { kind: 'deadLetter', reason: 'no' });
    h.subscription.deadLettered(0, 3);
    const settledBefore = (outcome: string) => [{ partition: 0, first: 1, last: 3, outcome }];
    assert.deepEqual(h.settle('a', 0, 1, 3).settledBefore, settledBefore('ack'));
    assert.deepEqual(h.settle('a', 0, 1, 3, others[1]).settledBefore, settledBefore('nack'));
    assert.deepEqual(h.settle('a', 0, 1, 3, others[2]).settledBefore, settledBefore('deadLetter'));
    assert.deepEqual(h.settle('a', 0, 1, 3, others[0]), {
      settledCount: 0,
      stale: [{ partition: 0, first: 1, last: 3 }],
    });
    assert.deepEqual(h.settle('a', 0, 0, 3), {
      settledCount: 1,
      stale: [],
      settledBefore: settledBefore('ack'),
    });
  });

  it('calls stale of what is on its way to the dead-letter topic what contradicts that, and no repetition', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 4);
    h.open('a');
    h.deliver('a');
    const deadLetter: Outcome = { kind: 'deadLetter', reason: 'no' };
    h.settle('a', 0, 1, 2, deadLetter);
    for (const outcome of [deadLetter, { kind: 'nack' }] as const) {
      assert.deepEqual(h.settle('a', 0, 1, 2, outcome), { settledCount: 0, stale: [] }, outcome.kind);
    }
    const stale = [{ partition: 0, first: 1, last: 2 }];
    for (const outcome of [{ kind: 'ack' }, { kind: 'extend', byMs: 1 }] as const) {
      assert.deepEqual(h.settle('a', 0, 1, 2, outcome), { settledCount: 0, stale }, outcome.kind);
    }
    h.open('b');
    assert.deepEqual(h.settle('b', 0, 0, 3, deadLetter).stale, [
      { partition: 0, first: 0, last: 0 },
      { partition: 0, first: 3, last: 3 },
    ]);
  });

  it('merges stale offsets of all settlements, in order', () => {
    const h = new Harness();
    h.partition(0, 10);
    h.partition(1, 10);
    h.open('a', { messages: 0, bytes: 0 });
    const ack: Outcome = { kind: 'ack' };
    const { stale } = h.subscription.settle(
      'a',
      [
        { partition: 1, first: 4, last: 5, outcome: ack },
        { partition: 0, first: 2, last: 3, outcome: ack },
        { partition: 1, first: 0, last: 4, outcome: { kind: 'nack' } },
        { partition: 0, first: 5, last: 9, outcome: ack },
      ],
      h.nowMs,
    );
    assert.deepEqual(stale, [
      { partition: 0, first: 2, last: 3 },
      { partition: 0, first: 5, last: 9 },
      { partition: 1, first: 0, last: 5 },
    ]);
  });

  it('refuses a list with one fault in it, and changes nothing', () => {
    const h = new Harness();
    h.partition(0, 3);
    h.open('a');
    h.deliver('a');
    const ack: Outcome = { kind: 'ack' };
    const longReason = 'x'.repeat(limits.maxReasonLength + 1);
    const faults = [
      [{ partition: 7, first: 0, last: 0, outcome: ack }, 'UNKNOWN_PARTITION', 'offsets.partition'],
      [{ partition: 0, first: 2, last: 1, outcome: ack }, 'INVALID_FIELD', 'offsets'],
      [{ partition: 0, first: 0.5, last: 1, outcome: ack }, 'INVALID_FIELD', 'offsets'],
      [{ partition: 0, first: 0, last: 1.5, outcome: ack }, 'INVALID_FIELD', 'offsets'],
      [{ partition: 0, first: 0, last: Number.NaN, outcome: ack }, 'INVALID_FIELD', 'offsets'],
      [
        { partition: 0, first: 0, last: 0, outcome: { kind: 'extend', byMs: -1 } },
        'INVALID_FIELD',
        'extend.by',
      ],
      [
        { partition: 0, first: 0, last: 0, outcome: { kind: 'nack', delayMs: Number.NaN } },
        'INVALID_FIELD',
        'nack.delay',
      ],
      [
        { partition: 0, first: 0, last: 0, outcome: { kind: 'nack', reason: longReason } },
        'INVALID_FIELD',
        'nack.reason',
      ],
      [
        { partition: 0, first: 0, last: 0, outcome: { kind: 'deadLetter', reason: longReason } },
        'INVALID_FIELD',
        'dead_letter.reason',
      ],
    ] as const;
    for (const [fault, reason, path] of faults) {
      assert.throws(
        () => h.subscription.settle('a', [{ partition: 0, first: 0, last: 2, outcome: ack }, fault], h.nowMs),
        (error) =>
          error instanceof SluiceError &&
          error.reason === reason &&
          error.details.subject !== undefined &&
          fieldOf(error.details.subject, AcknowledgeRequestSchema) === `settlements[1].${path}`,
      );
    }
    assert.equal(h.outstanding('a'), 3);
  });

  it('refuses sessions that are not there', () => {
    const h = new Harness();
    h.partition(0, 1);
    for (const act of [() => h.settle('a', 0, 0, 0), () => h.waitReason('a')]) {
      assert.throws(act, (error) => error instanceof SluiceError && error.reason === 'SESSION_NOT_FOUND');
    }
    h.close('a');
  });
});

describe('credit', () => {
  it('bounds messages, and is given back by whatever ends a lease', () => {
    const h = new Harness();
    h.partition(0, 20);
    h.open('a', { messages: 4, bytes: 1_000 });
    h.deliver('a');
    assert.equal(h.waitReason('a'), 'messageCredit');
    h.settle('a', 0, 0, 0);
    assert.equal(h.outstanding('a'), 3);
    h.nack('a', 0, 2, 2, 0);
    assert.equal(h.outstanding('a'), 1, 'the nacked one and the revoked one');
    h.advance(1_000);
    assert.equal(h.outstanding('a'), 0);
    assert.equal(h.subscription.sessionStatus('a')!.outstandingBytes, 0);
  });

  it('may be passed by one message, in bytes', () => {
    const h = new Harness();
    h.partition(0, 20);
    h.open('a', { messages: 100, bytes: 2.5 * messageBytes });
    assert.deepEqual(h.deliver('a'), ['0:0-2']);
    assert.equal(h.waitReason('a'), 'byteCredit');
    h.settle('a', 0, 0, 0);
    assert.deepEqual(h.deliver('a'), ['0:3']);
    h.subscription.setCredit('a', { messages: 100, bytes: 1 });
    h.settle('a', 0, 1, 3);
    assert.deepEqual(h.deliver('a'), ['0:4'], 'a message larger than the whole credit');
  });

  it('is absolute: lowered under what is out, nothing goes until enough is settled; zero pauses', () => {
    const h = new Harness();
    h.partition(0, 20);
    h.open('a', { messages: 10, bytes: 1_000 });
    h.deliver('a');
    h.subscription.setCredit('a', { messages: 0, bytes: 0 });
    assert.equal(h.settle('a', 0, 0, 4).settledCount, 5);
    assert.equal(h.waitReason('a'), 'messageCredit');
    h.effects();
    h.subscription.setCredit('a', { messages: 6, bytes: 1_000 });
    assert.deepEqual(h.effects().ready, ['a']);
    assert.deepEqual(h.deliver('a'), ['0:10']);
  });
});

describe('deadlines', () => {
  it('begin when the bytes have left', () => {
    const h = new Harness();
    h.partition(0, 2);
    h.open('a');
    const { deliveryId } = h.leaseNext('a');
    h.advance(1_000_000);
    assert.equal(h.outstanding('a'), 2, 'no other session could take them');
    assert.equal(h.subscription.wakeAtMs, Number.POSITIVE_INFINITY);
    h.subscription.sent(deliveryId, h.nowMs);
    assert.equal(h.subscription.wakeAtMs, h.nowMs + 1_000);
    h.advance(999);
    assert.equal(h.outstanding('a'), 2);
    h.advance(1);
    assert.equal(h.outstanding('a'), 0);
  });

  it('blame the message that the consumer was at, and no other', () => {
    const h = new Harness();
    h.partition(0, 3);
    h.open('a');
    h.deliver('a');
    h.advance(1_000);
    assert.equal(h.waitReason('a'), 'backoff');
    h.advance(100);
    assert.deepEqual(h.deliver('a'), ['0:0#2', '0:1-2']);
  });

  it('charge no message when the first one was extended and those behind it were not', () => {
    const h = new Harness();
    h.partition(0, 3);
    h.open('a');
    h.deliver('a');
    h.settle('a', 0, 0, 0, { kind: 'extend', byMs: 5_000 });
    h.advance(1_000);
    assert.equal(h.outstanding('a'), 1);
    assert.deepEqual(h.deliver('a'), ['0:1-2']);
    h.settle('a', 0, 0, 0);
    assert.deepEqual(h.subscription.cursor(0).failed, []);
  });

  it('move with an extension, also to earlier', () => {
    const h = new Harness();
    h.partition(0, 3);
    h.open('a');
    h.deliver('a');
    h.settle('a', 0, 0, 2, { kind: 'extend', byMs: 9_000 });
    assert.equal(h.subscription.wakeAtMs, h.nowMs + 9_000);
    h.settle('a', 0, 0, 2, { kind: 'extend', byMs: 10 });
    assert.equal(h.subscription.wakeAtMs, h.nowMs + 10);
  });
});
