import assert from 'node:assert/strict';
import { limits } from '../../../src/base/limits.js';
import { Harness } from './harness.js';

const eight = { messages: 8, bytes: 1_000_000 };

function attempts(h: Harness, count: number): number[] {
  return Array.from({ length: count }, (_, offset) => {
    const state = h.subscription.status(0, offset);
    return state.kind === 'done' ? 0 : state.failedAttempts;
  });
}

/** Messages without a key in order NONE, or with a key each in order KEY. */
function shared(ordering: 'none' | 'key', count: number, maxAttempts = 3): Harness {
  const h = new Harness({ ordering, maxAttempts });
  h.partition(0, 0);
  h.append(
    0,
    Array.from({ length: count }, (_, i) => (ordering === 'key' ? i + 1 : 0)),
  );
  return h;
}

/** Two streams break with all messages at work that a session gets: what was in both of them is suspected. */
function breakTwice(h: Harness): void {
  for (const sessionId of ['broken-1', 'broken-2']) {
    h.open(sessionId);
    h.serve();
    h.close(sessionId, 'broke');
  }
}

describe('a stream that ends', () => {
  for (const ordering of ['none', 'key'] as const) {
    it(`dead-letters only the one of eight messages at work that breaks it, order ${ordering}`, () => {
      const h = shared(ordering, 8);
      const handled: number[] = [];
      const deadLetterRequests: { offset: number; attempts: number; reason: string }[] = [];
      let crashes = 0;
      const handle = (sessionId: string, offsets: readonly number[]): void => {
        for (const offset of offsets) h.settle(sessionId, 0, offset, offset);
        handled.push(...offsets);
      };
      const crash = (sessionId: string): void => {
        crashes += 1;
        h.close(sessionId, 'broke');
        const requests = h.effects().deadLetterRequests;
        deadLetterRequests.push(...requests);
        for (const { offset } of requests) h.subscription.deadLettered(0, offset);
      };
      /** One process: handles what it gets, until it gets nothing or message 3. */
      const run = (sessionId: string): void => {
        h.open(sessionId, eight);
        while (h.deliverAll(sessionId).length > 0) {
          const held = heldBy(h, sessionId, 8);
          if (held.includes(3)) {
            crash(sessionId);
            return;
          }
          handle(sessionId, held);
        }
      };
      for (let i = 0; handled.length < 7 || deadLetterRequests.length < 1; i += 1) {
        assert.ok(i < 20, 'too many processes');
        run(`process-${i}`);
      }
      assert.deepEqual(
        deadLetterRequests.map(({ offset }) => offset),
        [3],
      );
      assert.equal(deadLetterRequests[0]!.attempts, 3);
      assert.match(deadLetterRequests[0]!.reason, /connection lost/);
      assert.deepEqual(handled.sort(), [0, 1, 2, 4, 5, 6, 7]);
      assert.equal(crashes, 5, 'twice with all of them, then three times alone');
    });

    it(`delivers suspects one at a time, to sessions that hold nothing else, order ${ordering}`, () => {
      const h = shared(ordering, 4);
      breakTwice(h);
      assert.deepEqual(
        attempts(h, 4),
        [0, 0, 0, 0],
        'nothing is charged while it is not known which one it was',
      );
      h.open('b');
      h.open('c');
      assert.deepEqual(h.serve(), { b: ['0:0'], c: ['0:1'] });
      assert.equal(
        h.waitReason('b'),
        'notAssigned',
        'what is left is not for a session that holds something',
      );
      h.append(0, [0]);
      assert.deepEqual(h.serve(), {}, 'a suspect takes all the credit');
      assert.equal(h.waitReason('b'), 'messageCredit');
      h.subscription.seek(0, 4, h.nowMs);
      assert.deepEqual(h.serve(), { b: ['0:4'] }, 'a seek forgets all suspects');
    });

    it(`takes a message that was settled or nacked from the suspects, order ${ordering}`, () => {
      const h = shared(ordering, 4);
      breakTwice(h);
      h.open('b');
      h.open('c');
      h.serve();
      h.settle('b', 0, 0, 0);
      assert.deepEqual(h.serve(), { b: ['0:2'] });
      h.nack('c', 0, 1, 1, 0);
      assert.deepEqual(h.serve(), { c: ['0:3'] }, 'the next suspect');
      h.settle('b', 0, 2, 2);
      assert.deepEqual(h.serve(), { b: ['0:1#2'] }, 'a nack shows that the consumer survives it');
      h.append(0, [0, 0]);
      assert.deepEqual(h.serve(), { b: ['0:4-5'] }, 'c still holds its suspect');
    });

    it(`passes on a suspect that a session was woken for and can't take, order ${ordering}`, () => {
      const h = shared(ordering, 2);
      breakTwice(h);
      for (const sessionId of ['a', 'b', 'c']) h.open(sessionId);
      assert.deepEqual(h.serve(), { a: ['0:0'], b: ['0:1'] });
      h.open('d');
      h.serve();
      h.settle('b', 0, 1, 1);
      h.serve();
      h.close('a', 'broke');
      const [woken] = h.effects().ready;
      h.subscription.decline(woken!);
      const [other] = h.effects().ready;
      assert.ok(other !== undefined && other !== woken, 'another one is woken');
      assert.deepEqual(h.deliverAll(other), ['0:0#2']);
    });

    it(`drains a busy session for a suspect, order ${ordering}`, () => {
      const h = shared(ordering, 2);
      h.open('once');
      h.serve();
      h.close('once', 'broke');
      h.open('a');
      h.serve();
      h.open('b');
      h.append(0, [0, 0, 0]);
      h.serve();
      assert.equal(h.outstanding('b'), 3, 'b takes what comes');
      h.close('a', 'broke');
      assert.deepEqual(h.serve(), {}, 'b holds something');
      h.append(0, [0]);
      assert.deepEqual(h.serve(), {}, 'b gets nothing new');
      h.settle('b', 0, 2, 4);
      assert.deepEqual(h.serve(), { b: ['0:0'] });
      h.settle('b', 0, 0, 0);
      assert.deepEqual(h.serve(), { b: ['0:1'] });
      h.settle('b', 0, 1, 1);
      assert.deepEqual(h.serve(), { b: ['0:5'] }, 'all suspects are cleared');
    });
  }

  it('charges the message at work when there is only one', () => {
    const h = shared('none', 1);
    h.open('a');
    h.serve();
    h.close('a', 'broke');
    assert.deepEqual(attempts(h, 1), [1]);
  });

  it('charges within a key the first message only, and suspects the first of each of several keys', () => {
    const h = new Harness({ ordering: 'key' });
    h.partition(0, 0);
    h.append(0, [7, 7, 7]);
    h.open('a');
    h.deliverAll('a');
    h.close('a', 'broke');
    assert.deepEqual(attempts(h, 3), [1, 0, 0]);
    h.append(0, [8, 8]);
    for (const sessionId of ['b1', 'b2']) {
      h.open(sessionId);
      h.deliverAll(sessionId);
      assert.equal(h.outstanding(sessionId), 5);
      h.close(sessionId, 'broke');
      assert.deepEqual(attempts(h, 5), [1, 0, 0, 0, 0]);
    }
    h.open('c');
    assert.deepEqual(h.deliverAll('c'), ['0:0#2']);
    h.settle('c', 0, 0, 0);
    assert.deepEqual(h.deliverAll('c'), ['0:3']);
    h.settle('c', 0, 3, 3);
    assert.deepEqual(h.deliverAll('c'), ['0:1-2', '0:4']);
  });

  it('suspects the first message of each partition of the session, in order of partition', () => {
    const h = new Harness();
    h.partition(0, 3);
    h.partition(1, 3);
    breakTwice(h);
    h.open('b');
    assert.deepEqual(h.deliverAll('b'), ['0:0'], 'alone, also over partitions');
    h.settle('b', 0, 0, 0);
    assert.deepEqual(h.deliverAll('b'), ['1:0']);
    h.close('b', 'broke');
    assert.equal(h.subscription.cursor(1).failed[0]?.attempts, 1, 'it was alone: it is known');
    assert.deepEqual(h.subscription.cursor(0).failed, []);
    h.open('c');
    assert.deepEqual(h.deliverAll('c'), ['0:1-2'], 'not suspected');
    h.settle('c', 0, 1, 2);
    assert.deepEqual(h.deliverAll('c'), ['1:0#2']);
  });

  it('charges nothing when its call was cancelled and it had settled nothing', () => {
    for (const ordering of ['none', 'key', 'partition'] as const) {
      const h = new Harness({ ordering });
      h.partition(0, 2);
      h.open('a');
      h.deliverAll('a');
      h.close('a', 'cancelled');
      assert.deepEqual(attempts(h, 2), [0, 0]);
      h.open('b');
      assert.deepEqual(h.deliverAll('b'), ['0:0-1'], 'nothing is suspected');
    }
  });

  it('is charged when its call was cancelled after it had settled something', () => {
    const h = new Harness({ maxAttempts: 1 });
    h.partition(0, 3);
    h.open('a');
    h.deliverAll('a');
    h.settle('a', 0, 0, 0);
    h.close('a', 'cancelled');
    const [request] = h.effects().deadLetterRequests;
    assert.equal(request?.offset, 1);
    assert.match(request?.reason ?? '', /call cancelled/);
  });

  it('charges nothing of what has not left for its transport', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 1);
    h.open('a');
    h.deliverAll('a');
    h.append(0, [0, 0]);
    h.leaseNext('a');
    h.close('a', 'broke');
    assert.deepEqual(attempts(h, 3), [1, 0, 0]);
  });

  for (const ordering of ['none', 'key'] as const) {
    it(`delivers what was at work in one break as before, order ${ordering}`, () => {
      const h = shared(ordering, 4);
      for (const sessionId of ['a', 'b']) h.open(sessionId, { ...eight, messages: 2 });
      assert.deepEqual(h.serve(), { a: ['0:0-1'], b: ['0:2-3'] });
      h.close('a', 'broke');
      h.close('b', 'broke');
      h.open('c', { ...eight, messages: 3 });
      assert.deepEqual(h.deliverAll('c'), ['0:0-2'], 'one lost connection makes nothing slower');
      h.settle('c', 0, 2, 2);
      assert.deepEqual(h.deliverAll('c'), ['0:3']);
      h.settle('c', 0, 1, 1);
      h.append(0, ordering === 'key' ? [9] : [0]);
      assert.deepEqual(h.deliverAll('c'), ['0:4']);
      h.close('c', 'broke');
      h.open('d');
      assert.deepEqual(h.deliverAll('d'), ['0:0'], 'in two breaks');
      h.settle('d', 0, 0, 0);
      assert.deepEqual(h.deliverAll('d'), ['0:3']);
      h.settle('d', 0, 3, 3);
      assert.deepEqual(h.deliverAll('d'), ['0:4'], 'in one break');
      assert.deepEqual(attempts(h, 5), [0, 0, 0, 0, 0]);
    });
  }

  it('suspects a limited number of the messages of a partition, over all sessions, and charges none of them', () => {
    const sessionCount = 10;
    const each = 100;
    const count = sessionCount * each;
    const h = shared('none', count);
    for (let i = 0; i < 2; i += 1) {
      const sessionIds = Array.from({ length: sessionCount }, (_, n) => `session-${i}-${n}`);
      for (const sessionId of sessionIds) {
        h.open(sessionId, { ...eight, messages: each });
        assert.notDeepEqual(h.deliverAll(sessionId), []);
      }
      for (const sessionId of sessionIds) h.close(sessionId, 'broke');
    }
    assert.deepEqual(attempts(h, count), new Array(count).fill(0));
    h.open('b');
    for (let offset = 0; offset < limits.suspectsPerPartition; offset += 1) {
      assert.deepEqual(h.deliverAll('b'), [`0:${offset}`]);
      h.settle('b', 0, offset, offset);
    }
    assert.deepEqual(h.deliverAll('b'), [`0:${limits.suspectsPerPartition}-${count - 1}`]);
  });

  it('leaves no suspects over a restart of the broker', () => {
    const h = shared('none', 3);
    breakTwice(h);
    const after = new Harness({ ordering: 'none' });
    after.partition(0, 3, h.subscription.cursor(0));
    after.open('b');
    assert.deepEqual(after.deliverAll('b'), ['0:0-2']);
  });
});

describe('a lease that lapses', () => {
  it('is charged also behind a message whose lease was extended, where messages have no order', () => {
    const h = shared('none', 2);
    h.open('a');
    h.serve();
    const deadLetterRequests: { offset: number; reason: string }[] = [];
    for (let i = 0; i < 3; i += 1) {
      h.settle('a', 0, 0, 0, { kind: 'extend', byMs: 5_000 });
      h.advance(1_000);
      deadLetterRequests.push(...h.effects().deadLetterRequests);
      h.advance(400);
      h.deliverAll('a');
    }
    assert.equal(deadLetterRequests.length, 1);
    assert.equal(deadLetterRequests[0]?.offset, 1);
    assert.match(deadLetterRequests[0]?.reason ?? '', /lease lapsed/);
    assert.deepEqual(attempts(h, 1), [0]);
  });

  it('charges each message that lapsed, where messages have no order', () => {
    const h = shared('none', 3);
    h.open('a');
    h.serve();
    h.advance(1_000);
    assert.deepEqual(attempts(h, 3), [1, 1, 1]);
  });

  it('charges the first of each key, and of keys that have it extended nothing', () => {
    const h = new Harness({ ordering: 'key' });
    h.partition(0, 0);
    h.append(0, [7, 8, 7, 8, 0, 9]);
    h.open('a');
    h.deliverAll('a');
    h.settle('a', 0, 1, 1, { kind: 'extend', byMs: 5_000 });
    h.advance(1_000);
    assert.deepEqual(attempts(h, 6), [1, 0, 0, 0, 1, 1]);
  });
});

describe('the reason of a dead letter', () => {
  it('is what the last nack said', () => {
    const h = shared('none', 1, 2);
    h.open('a');
    for (const reason of ['first', 'no such order']) {
      h.deliverAll('a');
      h.settle('a', 0, 0, 0, { kind: 'nack', delayMs: 0, reason });
    }
    assert.equal(h.effects().deadLetterRequests[0]?.reason, 'no such order');
  });
});

function heldBy(h: Harness, sessionId: string, count: number): number[] {
  return Array.from({ length: count }, (_, offset) => offset).filter((offset) => {
    const state = h.subscription.status(0, offset);
    return state.kind === 'processing' && state.sessionId === sessionId;
  });
}

describe('a session that is to give back its messages before it takes a suspect', () => {
  function withDrained(): Harness {
    const h = shared('none', 2);
    h.open('busy', eight);
    assert.deepEqual(h.deliverAll('busy'), ['0:0-1']);
    h.append(0, [0, 0]);
    h.subscription.setCredit('busy', { messages: 2, bytes: 1_000_000 });
    breakTwice(h);
    h.subscription.setCredit('busy', eight);
    h.append(0, [0]);
    h.waitReason('busy');
    h.effects();
    return h;
  }

  it('gets nothing while suspects wait, and is called ready when other sessions have taken them', () => {
    const h = withDrained();
    assert.deepEqual(h.deliverAll('busy'), []);
    h.open('idle', { messages: 1, bytes: 1_000_000 });
    assert.deepEqual(h.deliverAll('idle'), ['0:2']);
    h.settle('idle', 0, 2, 2);
    assert.deepEqual(h.deliverAll('idle'), ['0:3']);
    h.settle('idle', 0, 3, 3);
    h.append(0, [0]);
    assert.deepEqual(h.serve(), { idle: ['0:4'], busy: ['0:5'] });
  });

  it('takes one when it has given back all it held', () => {
    const h = withDrained();
    h.settle('busy', 0, 0, 0);
    assert.deepEqual(h.serve(), {});
    h.settle('busy', 0, 1, 1);
    assert.deepEqual(h.serve(), { busy: ['0:2'] });
  });

  it('keeps no session that holds nothing from taking one', () => {
    const h = withDrained();
    h.open('other', eight);
    h.subscription.setCredit('busy', { messages: 0, bytes: 0 });
    assert.deepEqual(h.deliverAll('other'), ['0:2']);
  });
});
