import assert from 'node:assert/strict';
import { Harness, plenty } from './harness.js';

const one = { messages: 1, bytes: 1_000 };

/** The transport of the session takes nothing: two deliveries wait for it. */
function leaveUnread(h: Harness, sessionId: string): string[] {
  const messages: string[] = [];
  for (let i = 0; i < 2; i += 1) {
    const answer = h.subscription.nextFetch(sessionId, h.nowMs);
    if (answer.kind === 'wait') break;
    const delivery = h.lease(sessionId, answer)!;
    messages.push(...delivery.runs.map(({ from, to }) => `${answer.partition}:${from}-${to - 1}`));
  }
  h.subscription.decline(sessionId);
  return messages;
}

/** Serves the sessions that are called ready until none is. */
function serveAll(h: Harness, serve: Readonly<Record<string, () => void>>): void {
  for (let { ready } = h.effects(); ready.length > 0; { ready } = h.effects()) {
    for (const sessionId of ready) serve[sessionId]!();
  }
}

describe('a session whose transport takes nothing', () => {
  it('loses its partition, and what has not left, to a session that can take it; nothing is charged', () => {
    const h = new Harness();
    h.partition(0, 3);
    h.open('stuck');
    assert.deepEqual(leaveUnread(h, 'stuck'), ['0:0-2']);
    h.open('healthy');
    h.serve();
    h.advance(9_999);
    assert.deepEqual(h.serve(), {});
    h.advance(1);
    const { revocations, assignments, ready } = h.effects();
    assert.deepEqual(revocations, [{ sessionId: 'stuck', offsets: [{ partition: 0, first: 0, last: 2 }] }]);
    assert.deepEqual(assignments.map(({ sessionId, partitions }) => [sessionId, partitions]).sort(), [
      ['healthy', [0]],
      ['stuck', []],
    ]);
    assert.ok(ready.includes('healthy'));
    assert.deepEqual(h.deliverAll('healthy'), ['0:0-2'], 'the first attempt');
  });

  for (const ordering of ['none', 'key'] as const) {
    it(`loses what has not left, and gets no more until its transport moves, order ${ordering}`, () => {
      const h = new Harness({ ordering });
      h.partition(0, 0);
      h.append(0, [1, 2, 3]);
      h.open('stuck');
      assert.deepEqual(leaveUnread(h, 'stuck'), ['0:0-2']);
      h.open('healthy', plenty);
      h.serve();
      h.append(0, [4]);
      assert.deepEqual(h.serve(), { healthy: ['0:3'] }, 'new work never waits for it');
      h.settle('healthy', 0, 3, 3);
      h.advance(10_000);
      const { healthy } = h.serve();
      assert.equal(healthy?.join(), '0:0-2');
      h.subscription.sent(1, h.nowMs);
      h.advance(0);
      assert.equal(h.waitReason('stuck'), 'caughtUp', 'it is not passed over any more');
      h.settle('healthy', 0, 0, 2);
      h.subscription.setCredit('healthy', one);
      h.append(0, [5, 6]);
      const served = h.serve();
      assert.equal(served.stuck?.length, 1);
    });
  }

  it('stays the last choice for as long as that lasts, whatever its consumer sends', () => {
    const h = new Harness();
    h.partition(0, 3);
    h.open('stuck');
    leaveUnread(h, 'stuck');
    h.open('healthy');
    h.serve();
    h.advance(10_000);
    h.serve();
    h.settle('healthy', 0, 0, 2);
    h.subscription.setCredit('stuck', plenty);
    h.advance(1_000_000);
    assert.deepEqual(h.partitionsOf('healthy'), [0]);
    h.subscription.sent(1, h.nowMs);
    h.advance(0);
    h.close('healthy', 'left');
    assert.deepEqual(h.partitionsOf('stuck'), [0]);
  });

  it('keeps what it has while no other session could take it, and not a moment longer', () => {
    const h = new Harness();
    h.partition(0, 3);
    h.open('stuck');
    leaveUnread(h, 'stuck');
    h.open('paused', { messages: 0, bytes: 0 });
    h.advance(1_000_000);
    assert.equal(h.outstanding('stuck'), 3);
    h.subscription.setCredit('paused', plenty);
    h.advance(0);
    assert.deepEqual(h.serve(), { paused: ['0:0-2'] });
  });

  it('has as long as a lease lasts, where that is longer', () => {
    const h = new Harness({ ackDeadlineMs: 30_000 });
    h.partition(0, 1);
    h.open('stuck');
    leaveUnread(h, 'stuck');
    h.open('healthy');
    h.advance(29_999);
    assert.equal(h.outstanding('stuck'), 1);
    h.advance(1);
    assert.deepEqual(h.serve(), { healthy: ['0:0'] });
  });

  it('takes nothing over from one that hangs: a third one that is healthy gets all', () => {
    const h = new Harness();
    for (let partition = 0; partition < 3; partition += 1) h.partition(partition, 2);
    h.open('hung');
    h.open('stuck');
    h.open('healthy');
    const settled = new Set<number>();
    const serve: Record<string, () => void> = {
      hung: () => h.deliverAll('hung'),
      stuck: () => leaveUnread(h, 'stuck'),
      healthy: () => {
        for (const text of h.deliverAll('healthy')) {
          const partition = Number(text.split(':')[0]);
          h.settle('healthy', partition, 0, 1);
          settled.add(partition);
        }
      },
    };
    serveAll(h, serve);
    // From now on its two deliveries wait, and it declines.
    serve.stuck = () => h.subscription.decline('stuck');
    for (let i = 0; i < 110; i += 1) {
      h.advance(100);
      serveAll(h, serve);
    }
    assert.deepEqual([...settled].sort(), [0, 1, 2]);
    assert.deepEqual(h.partitionsOf('healthy'), [0, 1, 2]);
  });
});
