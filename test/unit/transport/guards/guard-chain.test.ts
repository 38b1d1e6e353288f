import assert from 'node:assert/strict';
import { SluiceError } from '../../../../src/base/errors.js';
import { allow, type Verdict } from '../../../../src/transport/guards/guard.js';
import { GuardChain } from '../../../../src/transport/guards/guard-chain.js';
import { contextOf } from '../../../support/call-context.js';
import { TestGuard, TestRelease } from '../../../support/test-guard.js';

const method = { path: '/a.B/C', descriptor: undefined };
const refusal = new SluiceError('TOO_MANY_CALLS', 'no');

/** A call on its way through these guards, and what became of it. */
function pass(guards: readonly TestGuard[]) {
  const outcomes: (SluiceError | 'allowed')[] = [];
  const passage = new GuardChain(guards).callPassage(contextOf('p'), method, {
    allowed: () => void outcomes.push('allowed'),
    refused: (error) => void outcomes.push(error),
  });
  passage.begin();
  return { outcomes, passage };
}

function guard(verdict: () => Verdict, checksRequests = false): TestGuard {
  return new TestGuard(checksRequests, verdict);
}

describe('a chain of guards', () => {
  it('checks nothing without guards', () => {
    const chain = new GuardChain([]);
    assert.deepEqual([chain.checksCalls, chain.checksRequests], [false, false]);
  });

  it('asks about requests only the guards that want that', () => {
    const [first, second] = [guard(() => allow), guard(() => allow, true)];
    const chain = new GuardChain([first, second]);
    assert.deepEqual([chain.checksCalls, chain.checksRequests], [true, true]);
    const bytes = Buffer.from('x');
    chain.requestPassage(contextOf('p'), method, bytes, { allowed() {}, refused() {} }).begin();
    assert.deepEqual([first.questions.size, second.questions.size], [0, 1]);
    assert.equal(new GuardChain([first]).checksRequests, false);
  });

  it('allows what all of them allow, and asks no guard behind a refusal', () => {
    const [first, last] = [guard(() => allow), guard(() => allow)];
    assert.deepEqual(pass([first, last]).outcomes, ['allowed']);
    const behind = guard(() => allow);
    assert.deepEqual(pass([first, guard(() => ({ kind: 'refuse', error: refusal })), behind]).outcomes, [
      refusal,
    ]);
    assert.equal(behind.questions.size, 0);
  });

  it('asks a guard again when its hold ends, and then the guards behind it', () => {
    const release = new TestRelease();
    const [first, holding, last] = [guard(() => allow), guard(() => release.verdict), guard(() => allow)];
    const { outcomes } = pass([first, holding, last]);
    assert.deepEqual([outcomes.length, last.questions.size], [0, 0]);
    release.release();
    assert.deepEqual(outcomes, ['allowed']);
    assert.deepEqual(
      [first, holding, last].map(({ questions }) => questions.size),
      [1, 2, 1],
    );
  });

  it('holds again, or refuses, after a hold', () => {
    const releases = [new TestRelease(), new TestRelease()];
    let verdicts: Verdict[] = releases.map((until) => ({ kind: 'hold', until }));
    verdicts = [...verdicts, { kind: 'refuse', error: refusal }];
    const { outcomes } = pass([guard(() => verdicts.shift()!)]);
    releases[0]!.release();
    assert.deepEqual([outcomes.length, releases[1]!.heldCount], [0, 1]);
    releases[1]!.release();
    assert.deepEqual(outcomes, [refusal]);
  });

  it('leaves nothing with the guard when it is cancelled, and has no outcome then', () => {
    const release = new TestRelease();
    const { outcomes, passage } = pass([guard(() => release.verdict)]);
    passage.cancel();
    passage.cancel();
    assert.equal(release.heldCount, 0);
    release.release();
    assert.deepEqual(outcomes, []);
  });

  it('refuses when a guard fails', () => {
    const failing = guard(() => {
      throw refusal;
    });
    assert.deepEqual(pass([failing]).outcomes, [refusal]);
  });
});
