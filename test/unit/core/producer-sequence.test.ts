import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SluiceError } from '../../../src/base/errors.js';
import { limits } from '../../../src/base/limits.js';
import { decideSequence, type ProducerPosition } from '../../../src/core/producer-sequence.js';

const position: ProducerPosition = { epoch: 3, lastSequence: 10, baseSequence: 4 };

describe('decideSequence', () => {
  it('starts a producer that was never seen at 1', () => {
    assert.deepEqual(decideSequence(undefined, { epoch: 5, firstSequence: 1, count: 4 }), {
      kind: 'accept',
      skip: 0,
      next: { epoch: 5, lastSequence: 4, baseSequence: 0 },
    });
    assert.deepEqual(decideSequence(undefined, { epoch: 5, firstSequence: 2, count: 4 }), {
      kind: 'gap',
      expectedSequence: 1,
    });
  });

  it('goes on where the producer stands', () => {
    assert.deepEqual(decideSequence(position, { epoch: 3, firstSequence: 11, count: 2 }), {
      kind: 'accept',
      skip: 0,
      next: { epoch: 3, lastSequence: 12, baseSequence: 4 },
    });
    assert.deepEqual(decideSequence(position, { epoch: 3, firstSequence: 12, count: 2 }), {
      kind: 'gap',
      expectedSequence: 11,
    });
  });

  it('skips what was stored before, in whole or in part', () => {
    assert.deepEqual(decideSequence(position, { epoch: 3, firstSequence: 9, count: 2 }), {
      kind: 'accept',
      skip: 2,
      next: position,
    });
    assert.deepEqual(decideSequence(position, { epoch: 3, firstSequence: 9, count: 5 }), {
      kind: 'accept',
      skip: 2,
      next: { epoch: 3, lastSequence: 13, baseSequence: 4 },
    });
    assert.deepEqual(decideSequence(position, { epoch: 3, firstSequence: 5, count: 3 }), {
      kind: 'accept',
      skip: 3,
      next: position,
    });
  });

  it('lets a higher epoch go on counting, and fences lower ones', () => {
    assert.deepEqual(decideSequence(position, { epoch: 4, firstSequence: 11, count: 1 }), {
      kind: 'accept',
      skip: 0,
      next: { epoch: 4, lastSequence: 11, baseSequence: 10 },
    });
    assert.deepEqual(decideSequence(position, { epoch: 2, firstSequence: 11, count: 1 }), {
      kind: 'fenced',
      epoch: 3,
    });
  });

  it('never takes a number of an earlier epoch for a repetition', () => {
    const reused = { kind: 'reused', expectedSequence: 11 };
    assert.deepEqual(decideSequence(position, { epoch: 4, firstSequence: 10, count: 1 }), reused);
    assert.deepEqual(decideSequence(position, { epoch: 4, firstSequence: 10, count: 5 }), reused);
    assert.deepEqual(decideSequence(position, { epoch: 3, firstSequence: 4, count: 1 }), reused);
  });

  it('lets a batch without messages claim the producer', () => {
    assert.deepEqual(decideSequence(position, { epoch: 4, firstSequence: 0, count: 0 }), {
      kind: 'accept',
      skip: 0,
      next: { epoch: 4, lastSequence: 10, baseSequence: 10 },
    });
    assert.deepEqual(decideSequence(undefined, { epoch: 2, firstSequence: 0, count: 0 }), {
      kind: 'accept',
      skip: 0,
      next: { epoch: 2, lastSequence: 0, baseSequence: 0 },
    });
    assert.deepEqual(decideSequence(position, { epoch: 3, firstSequence: 0, count: 0 }), {
      kind: 'accept',
      skip: 0,
      next: position,
    });
    assert.deepEqual(decideSequence(position, { epoch: 2, firstSequence: 0, count: 0 }), {
      kind: 'fenced',
      epoch: 3,
    });
  });

  it('refuses numbers that are no sequence', () => {
    const refused = [
      { epoch: 3, firstSequence: 0, count: 1 },
      { epoch: 3, firstSequence: limits.maxOffset, count: 2 },
    ];
    for (const batch of refused) {
      assert.throws(
        () => decideSequence(position, batch),
        (error) => error instanceof SluiceError && error.reason === 'INVALID_FIELD',
      );
    }
  });

  it('names what is at fault, and takes every number in its bounds', () => {
    const { maxOffset } = limits;
    const faults = [
      { batch: { epoch: -1, firstSequence: 1, count: 1 }, subject: 'epoch', text: /epoch -1 / },
      { batch: { epoch: 0.5, firstSequence: 1, count: 1 }, subject: 'epoch', text: /epoch 0.5 / },
      {
        batch: { epoch: maxOffset + 1, firstSequence: 1, count: 0 },
        subject: 'epoch',
        text: /no whole number/,
      },
      {
        batch: { epoch: 0, firstSequence: 0, count: 3 },
        subject: 'firstSequence',
        text: /sequence 0 with 3 /,
      },
      { batch: { epoch: 0, firstSequence: 1.5, count: 1 }, subject: 'firstSequence', text: /sequence 1.5 / },
      {
        batch: { epoch: 0, firstSequence: maxOffset, count: 2 },
        subject: 'firstSequence',
        text: /begin at 1/,
      },
      { batch: { epoch: 0, firstSequence: -1, count: 1 }, subject: 'firstSequence', text: /sequence -1 / },
    ];
    for (const { batch, subject, text } of faults) {
      assert.throws(
        () => decideSequence(undefined, batch),
        (error) =>
          error instanceof SluiceError &&
          error.reason === 'INVALID_FIELD' &&
          error.details.subject === subject &&
          text.test(error.message),
      );
    }
    assert.equal(decideSequence(undefined, { epoch: 0, firstSequence: 1, count: 1 }).kind, 'accept');
    assert.equal(decideSequence(undefined, { epoch: maxOffset, firstSequence: 1, count: 1 }).kind, 'accept');
    const last: ProducerPosition = { epoch: 0, lastSequence: maxOffset - 1, baseSequence: 0 };
    assert.deepEqual(decideSequence(last, { epoch: 0, firstSequence: maxOffset, count: 1 }), {
      kind: 'accept',
      skip: 0,
      next: { ...last, lastSequence: maxOffset },
    });
  });

  it('keeps what else it knows of the producer in its epoch, and not in the next', () => {
    const claimed = { ...position, claimId: 77 };
    const next = (epoch: number) => {
      const decision = decideSequence(claimed, { epoch, firstSequence: 11, count: 1 });
      return decision.kind === 'accept' ? decision.next.claimId : undefined;
    };
    assert.equal(next(3), 77);
    assert.equal(next(4), undefined);
  });

  it('stores every number once, whatever is sent again', () => {
    const batch = fc.record({
      firstSequence: fc.integer({ min: 1, max: 30 }),
      count: fc.integer({ min: 1, max: 8 }),
    });
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 40 }), (batches) => {
        const stored: number[] = [];
        let at: ProducerPosition | undefined;
        for (const { firstSequence, count } of batches) {
          const decision = decideSequence(at, { epoch: 1, firstSequence, count });
          if (decision.kind !== 'accept') {
            assert.ok(firstSequence > stored.length + 1);
            continue;
          }
          for (let i = decision.skip; i < count; i += 1) stored.push(firstSequence + i);
          at = decision.next;
        }
        assert.deepEqual(
          stored,
          stored.map((_, i) => i + 1),
        );
      }),
    );
  });
});
