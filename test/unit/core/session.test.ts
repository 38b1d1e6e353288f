import assert from 'node:assert/strict';
import { limits } from '../../../src/base/limits.js';
import { Outbox } from '../../../src/core/outbox.js';
import { Session } from '../../../src/core/session.js';
import { Silences } from '../../../src/core/silences.js';
import { defaultPolicy } from './harness.js';

const ends = Uint32Array.of(10, 20, 40, 50);

describe('the credit of a session', () => {
  it('covers messages up to its count, and up to the one that exceeds its bytes', () => {
    const session = new Session('s', { messages: 3, bytes: 25 });
    assert.equal(session.covered(ends, 0, 4), 3);
    assert.equal(session.covered(ends, 1, 4), 2, 'ten bytes, then twenty');
    assert.equal(session.covered(ends, 0, 1), 1);
    session.take(1, 5);
    assert.equal(session.covered(ends, 0, 4), 2);
    assert.equal(session.covered(ends, 2, 4), 1, 'exactly the bytes');
    session.take(0, 19);
    assert.equal(session.covered(ends, 2, 4), 1, 'a message that is larger than the rest');
    session.take(0, 1);
    assert.equal(session.covered(ends, 0, 4), 0);
  });

  it('names what is missing', () => {
    const session = new Session('s', { messages: 2, bytes: 10 });
    assert.equal(session.lackOfCredit, undefined);
    session.take(1, 9);
    assert.equal(session.lackOfCredit, undefined);
    session.take(0, 1);
    assert.equal(session.lackOfCredit, 'byteCredit');
    session.take(1, 0);
    assert.equal(session.lackOfCredit, 'messageCredit');
    assert.equal(session.messagesLeft, 0);
    session.giveBack(1, 10);
    assert.equal(session.lackOfCredit, undefined);
    assert.deepEqual([session.outstandingMessages, session.outstandingBytes], [1, 0]);
    for (const credit of [
      { messages: 0, bytes: 1 },
      { messages: 1, bytes: 0 },
      { messages: -1, bytes: 1 },
    ]) {
      session.credit = credit;
      assert.equal(session.isPaused, true);
    }
    session.credit = { messages: 1, bytes: 1 };
    assert.equal(session.isPaused, false);
  });

  it('is used up by a message that is delivered alone, until it is given back', () => {
    const session = new Session('s', { messages: 9, bytes: 100 });
    session.take(2, 2);
    session.isolate();
    assert.equal(session.lackOfCredit, 'messageCredit');
    session.giveBack(1, 1);
    assert.equal(session.messagesLeft, 0);
    session.giveBack(1, 1);
    assert.equal(session.messagesLeft, 9);
  });
});

describe('the outbox', () => {
  it('gives each effect once, and readiness in the order of load', () => {
    const outbox = new Outbox();
    const [a, b] = ['a', 'b'].map((id) => new Session(id, { messages: 9, bytes: 9 })) as [Session, Session];
    a.take(1, 1);
    outbox.ready(a);
    outbox.ready(b);
    outbox.ready(a);
    outbox.dirty(3);
    outbox.dirty(3);
    outbox.assigned(a, [1]);
    outbox.assigned(a, [2]);
    outbox.revoked(a, { partition: 0, first: 4, last: 5 });
    outbox.revoked(a, { partition: 0, first: 6, last: 7 });
    const request = { partition: 0, offset: 1, attempts: 2, reason: 'r' };
    outbox.deadLetter(request);
    const effects = outbox.take();
    assert.deepEqual(effects, {
      dirtyPartitions: [3],
      deadLetterRequests: [request],
      assignments: [{ sessionId: 'a', partitions: [2] }],
      revocations: [{ sessionId: 'a', offsets: [{ partition: 0, first: 4, last: 7 }] }],
      ready: ['b', 'a'],
    });
    const nothing = {
      dirtyPartitions: [],
      deadLetterRequests: [],
      assignments: [],
      revocations: [],
      ready: [],
    };
    assert.deepEqual(outbox.take(), nothing);
    outbox.ready(a);
    outbox.assigned(a, [1]);
    outbox.revoked(a, { partition: 0, first: 4, last: 5 });
    outbox.forget(a);
    assert.deepEqual(outbox.take(), nothing);
    outbox.deadLetter(request);
    assert.deepEqual(outbox.take().deadLetterRequests, [request]);
  });
});

describe('silences', () => {
  const silenceMs = Math.max(limits.minSilenceMs, limits.silenceLeaseTimes * defaultPolicy.ackDeadlineMs);

  it('double with each lapse, up to a limit, until the consumer sends something', () => {
    const silences = new Silences();
    const session = new Session('s', { messages: 1, bytes: 1 });
    for (const expectedMs of [silenceMs, 2 * silenceMs, 4 * silenceMs]) {
      assert.equal(silences.begin(session, defaultPolicy, 100), true);
      assert.equal(silences.begin(session, defaultPolicy, 200), false, 'it is silent already');
      assert.equal(silences.count, 1);
      assert.equal(silences.nextEndMs, 100 + expectedMs);
      assert.equal(silences.endDue(99 + expectedMs), undefined);
      assert.equal(silences.endDue(100 + expectedMs), session);
      assert.equal(session.isSilent, false);
      assert.equal(silences.count, 0);
    }
    for (let i = 0; i < 20; i += 1) {
      silences.begin(session, defaultPolicy, 0);
      assert.ok(silences.nextEndMs <= limits.maxSilenceMs);
      silences.endDue(limits.maxSilenceMs);
    }
    assert.equal(silences.end(session), false, 'it was not silent');
    silences.begin(session, defaultPolicy, 0);
    assert.equal(silences.nextEndMs, silenceMs, 'from the start again');
    assert.equal(silences.end(session), true);
    assert.equal(session.isSilent, false);
    assert.equal(silences.count, 0);
    assert.equal(silences.nextEndMs, Number.POSITIVE_INFINITY);
  });

  it('of a stuck session have no end of their own', () => {
    const silences = new Silences();
    const session = new Session('s', { messages: 1, bytes: 1 });
    silences.begin(session, defaultPolicy, 0);
    silences.hold(session);
    assert.equal(silences.count, 1);
    assert.equal(silences.nextEndMs, Number.POSITIVE_INFINITY);
    assert.deepEqual([session.isSilent, session.isStuck], [true, true]);
    assert.equal(silences.end(session), true);
    assert.deepEqual([session.isSilent, session.isStuck], [false, false]);
    assert.equal(silences.count, 0);
  });
});
