import assert from 'node:assert/strict';
import { limits } from '../../../../src/base/limits.js';
import type { RoundPlan } from '../../../../src/storage/commit/round-planner.js';
import { createSubmission, type Submission } from '../../../../src/storage/commit/submission.js';
import { Writer } from '../../../../src/storage/commit/writer.js';
import type { Transaction } from '../../../../src/storage/types.js';

/** A writer whose rounds go nowhere, in a loop that turns when it is told. */
class Rig {
  readonly rounds: Submission[][] = [];
  readonly sent: number[] = [];
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
      send: ({ byteLength }) => this.sent.push(byteLength),
      soon: (run) => this.#soon.push(run),
    });
  }

  submit(bytes: number, isBoundToEarlier = false): Submission {
    const transaction: Transaction = { durability: 'synced', onCommitted: () => {} };
    const submission = { ...createSubmission(transaction, { isBoundToEarlier }), byteLength: bytes };
    this.writer.enqueue(submission);
    return submission;
  }

  turn(): void {
    for (const run of this.#soon.splice(0)) run();
  }

  get askedTurns(): number {
    return this.#soon.length;
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

  it('starts a second round with exactly the bytes that are worth a sync, and not with one byte less', () => {
    const rig = new Rig();
    rig.submit(1);
    rig.turn();
    rig.submit(limits.secondRoundBytes - 1);
    rig.turn();
    assert.equal(rig.rounds.length, 1);
    rig.submit(1);
    rig.turn();
    assert.deepEqual(rig.sizes.at(-1), [limits.secondRoundBytes - 1, 1]);
  });

  it('asks for one turn, whatever is submitted in it, and for none while it may not write', () => {
    const rig = new Rig();
    rig.submit(1);
    rig.submit(1);
    assert.equal(rig.askedTurns, 1);
    rig.turn();
    rig.submit(1);
    assert.equal(rig.askedTurns, 0, 'too little for a second round');
    rig.writer.finishRound();
    assert.equal(rig.askedTurns, 1);
    rig.turn();
    rig.writer.finishRound();
    assert.equal(rig.askedTurns, 0, 'there is nothing to write');
  });

  it('writes a submission without bytes, together with others', () => {
    const rig = new Rig();
    rig.submit(0);
    rig.submit(limits.roundBytes * 2);
    rig.turn();
    assert.deepEqual(rig.sizes, [[0, limits.roundBytes * 2]]);
  });

  it('fills a round to exactly its limit, and sends two rounds in one turn', () => {
    const rig = new Rig();
    for (const bytes of [limits.roundBytes - 1, 1, limits.roundBytes - 1, 2]) rig.submit(bytes);
    rig.turn();
    assert.deepEqual(rig.sizes, [[limits.roundBytes - 1, 1], [limits.roundBytes - 1]]);
    assert.deepEqual(rig.sent, [limits.roundBytes, limits.roundBytes - 1], 'in the order of their plans');
    assert.equal(rig.writer.isIdle, false);
    assert.equal(rig.writer.queuedBytes, 2 * limits.roundBytes + 1);
  });

  it('counts all submitted bytes, and the room that is left', () => {
    const rig = new Rig(10);
    assert.equal(rig.writer.roomBytes, 10);
    rig.submit(4);
    rig.submit(9);
    assert.equal(rig.writer.roomBytes, -3);
    rig.turn();
    rig.writer.finishRound();
    assert.equal(rig.writer.roomBytes, 10);
    assert.equal(rig.writer.submittedBytes, 13);
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

  it('ends no round between a submission and the earlier ones that it is bound to', () => {
    const rig = new Rig();
    const large = limits.roundBytes;
    rig.submit(1);
    rig.submit(large);
    rig.submit(2, true);
    rig.submit(large, true);
    rig.submit(3);
    rig.submit(large);
    while (!rig.writer.isIdle) {
      rig.turn();
      rig.writer.finishRound();
    }
    assert.deepEqual(rig.sizes, [[1, large, 2, large], [3], [large]]);
    rig.submit(large, true);
    rig.writer.abandon();
    rig.submit(large);
    rig.submit(4);
    rig.turn();
    assert.deepEqual(rig.sizes.slice(3), [[large]], 'what was abandoned binds no longer');
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
