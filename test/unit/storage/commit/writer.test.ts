import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import type { RoundPlan } from '../../../../src/storage/commit/round-planner.js';
import { createSubmission, type Submission } from '../../../../src/storage/commit/submission.js';
import { Writer } from '../../../../src/storage/commit/writer.js';
import type { Transaction } from '../../../../src/storage/types.js';

/** A writer whose rounds go nowhere, in a loop that turns when it is told. */
class Rig {
  readonly rounds: Submission[][] = [];
  readonly #soon: (() => void)[] = [];
  readonly writer: Writer;

  constructor(maxQueuedBytes = 1_000_000_000) {
    this.writer = new Writer(maxQueuedBytes, {
      plan: (submissions) => {
        this.rounds.push([...submissions]);
        const byteLength = submissions.reduce((bytes, submission) => bytes + submission.byteLength, 0);
        return {
          submitters: submissions.map(({ transaction }) => transaction),
          byteLength,
        } as unknown as RoundPlan;
      },
      send: () => {},
      soon: (run) => this.#soon.push(run),
    });
  }

  submit(bytes: number): Submission {
    const transaction: Transaction = { durability: 'synced', onCommitted: () => {} };
    const submission = { ...createSubmission(transaction, {}), byteLength: bytes };
    this.writer.enqueue(submission);
    return submission;
  }

  turn(): void {
    for (const run of this.#soon.splice(0)) run();
  }

  get sizes(): number[][] {
    return this.rounds.map((round) => round.map(({ byteLength }) => byteLength));
  }
}

describe('writer', () => {
  it('puts what one turn of the loop brings into one round, never from within the submission', () => {
    const rig = new Rig();
    rig.submit(1);
    rig.submit(2);
    assert.deepEqual(rig.sizes, []);
    rig.turn();
    assert.deepEqual(rig.sizes, [[1, 2]]);
  });

  it('gathers small ones while a round is under way, and lets a large second one follow', () => {
    const rig = new Rig();
    rig.submit(1);
    rig.turn();
    rig.submit(2);
    rig.turn();
    assert.deepEqual(rig.sizes, [[1]]);
    rig.submit(limits.secondRoundBytes);
    rig.turn();
    assert.deepEqual(rig.sizes, [[1], [2, limits.secondRoundBytes]]);
    rig.submit(limits.secondRoundBytes);
    rig.turn();
    assert.equal(rig.rounds.length, limits.roundsUnderWay, 'no third');
    rig.writer.finishRound();
    rig.turn();
    assert.equal(rig.rounds.length, 3);
  });

  it('keeps rounds within their limit, order, and submissions whole', () => {
    const rig = new Rig();
    const half = limits.roundBytes / 2;
    for (const bytes of [half, half, 1, limits.roundBytes * 3, 2]) rig.submit(bytes);
    while (!rig.writer.isIdle) {
      rig.turn();
      rig.writer.finishRound();
    }
    assert.deepEqual(rig.sizes, [[half, half], [1], [limits.roundBytes * 3], [2]]);
  });

  it('counts what waits and what is under way, and tells once when there is room again', () => {
    const rig = new Rig(100);
    rig.submit(100);
    assert.equal(rig.writer.hasRoom, true);
    assert.equal(rig.writer.takeRoom(), false, 'there was room all the time');
    rig.submit(1);
    rig.turn();
    assert.equal(rig.writer.hasRoom, false);
    assert.equal(rig.writer.takeRoom(), false);
    assert.equal(rig.writer.queuedBytes, 101);
    rig.writer.finishRound();
    assert.equal(rig.writer.queuedBytes, 0);
    assert.equal(rig.writer.takeRoom(), true);
    assert.equal(rig.writer.takeRoom(), false);
  });

  it('names every submitter whose transaction is unwritten, in order', () => {
    const rig = new Rig();
    const first = rig.submit(1);
    rig.turn();
    const second = rig.submit(2);
    assert.deepEqual(rig.writer.abandon(), [first.transaction, second.transaction]);
    assert(rig.writer.isIdle);
    assert.equal(rig.writer.queuedBytes, 0);
  });
});
