import assert from 'node:assert/strict';
import { CumulativeAcks } from '../../../../src/broker/delivery/cumulative-acks.js';
import type { Outcome } from '../../../../src/core/types.js';

const ack: Outcome = { kind: 'ack' };

describe('the cumulative acknowledgements of a session', () => {
  /** What is compared of an acknowledgement, where everything that it names was settled before. */
  function compare(acks: CumulativeAcks, first: number, last: number, end = 1_000): string {
    const [compared] = acks.withoutRepeated(
      [{ partition: 0, first, last, outcome: ack }],
      [{ partition: 0, first, last, outcome: 'ack' }],
      () => end,
    );
    return compared === undefined ? '' : `${compared.first}-${compared.last}`;
  }

  it('are compared in what they add, the first from where the session began', () => {
    const acks = new CumulativeAcks([100]);
    assert.equal(compare(acks, 0, 109), '100-109');
    assert.equal(compare(acks, 0, 119), '110-119');
    assert.equal(compare(acks, 0, 119), '110-119', 'the same once more has the same answer');
    assert.equal(compare(acks, 0, 120), '120-120');
  });

  it('end at the end of the log', () => {
    const acks = new CumulativeAcks([0]);
    assert.equal(compare(acks, 0, 1_000_000, 10), '0-1000000');
    assert.equal(compare(acks, 0, 1_000_000, 20), '10-1000000');
  });

  it('leave alone what names single messages, and other outcomes', () => {
    const acks = new CumulativeAcks([100]);
    assert.equal(compare(acks, 5, 120), '5-120');
    assert.equal(compare(acks, 0, 50), '0-50');
    assert.equal(compare(new CumulativeAcks([1]), 0, 0), '0-0');
    const nacked = [{ partition: 0, first: 3, last: 4, outcome: 'nack' }] as const;
    const settlement = { partition: 0, first: 0, last: 200, outcome: ack };
    assert.deepEqual(
      acks.withoutRepeated([settlement], nacked, () => 1_000),
      nacked,
    );
  });
});
