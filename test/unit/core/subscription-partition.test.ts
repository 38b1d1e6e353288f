import assert from 'node:assert/strict';
import { defaultPolicy, freshCursor, Harness, plenty } from './harness.js';

describe('a subscription in order of partition', () => {
  it('delivers each partition in order, in turn, up to its end', () => {
    const h = new Harness();
    h.partition(0, 5);
    h.partition(1, 3);
    h.open('a', { messages: 4, bytes: 1_000 });
    assert.deepEqual(h.deliver('a'), ['0:0-3']);
    assert.equal(h.waitReason('a'), 'messageCredit');
    h.settle('a', 0, 0, 3);
    assert.deepEqual(h.deliver('a'), ['1:0-2']);
    assert.deepEqual(h.deliver('a'), ['0:4']);
    assert.equal(h.waitReason('a'), 'caughtUp');
  });

  describe('assignment', () => {
    it('spreads partitions evenly and announces every change', () => {
      const h = new Harness();
      for (let partition = 0; partition < 5; partition += 1) h.partition(partition, 0);
      h.open('a');
      assert.deepEqual(h.effects().assignments, [{ sessionId: 'a', partitions: [0, 1, 2, 3, 4] }]);
      h.open('b');
      const { assignments } = h.effects();
      assert.deepEqual(assignments.map(({ sessionId }) => sessionId).sort(), ['a', 'b']);
      assert.equal(h.partitionsOf('a').length, 3);
      assert.equal(h.partitionsOf('b').length, 2);
      assert.deepEqual([...h.partitionsOf('a'), ...h.partitionsOf('b')].sort(), [0, 1, 2, 3, 4]);
      h.close('a');
      assert.deepEqual(h.effects().assignments, [{ sessionId: 'b', partitions: [0, 1, 2, 3, 4] }]);
    });

    it('leaves sessions over when there are more of them than partitions', () => {
      const h = new Harness();
      h.partition(0, 1);
      h.open('a');
      h.open('b');
      h.effects();
      assert.equal(h.waitReason('b'), 'notAssigned');
      h.close('a');
      assert.deepEqual(h.effects().ready, ['b']);
      assert.deepEqual(h.deliver('b'), ['0:0']);
    });

    it('moves a partition only when nothing is outstanding in it, and delivers nothing more before', () => {
      const h = new Harness();
      h.partition(0, 2);
      h.partition(1, 4);
      h.open('a', { messages: 3, bytes: 1_000 });
      assert.deepEqual(h.deliverAll('a'), ['0:0-1', '1:0']);
      h.open('b');
      assert.deepEqual(h.partitionsOf('b'), []);
      assert.deepEqual(h.effects().assignments.at(-1), { sessionId: 'b', partitions: [] });
      h.settle('a', 0, 0, 1);
      assert.equal(h.waitReason('a'), 'notAssigned', 'partition 1 drains');
      assert.deepEqual(h.effects().assignments, []);
      h.settle('a', 1, 0, 0);
      assert.deepEqual(h.effects().assignments, [
        { sessionId: 'a', partitions: [0] },
        { sessionId: 'b', partitions: [1] },
      ]);
      assert.deepEqual(h.deliver('b'), ['1:1-3']);
    });

    it('lets a partition stay when the session that waited for it ends', () => {
      const h = new Harness();
      h.partition(0, 3);
      h.partition(1, 3);
      h.open('a', { messages: 4, bytes: 1_000 });
      h.deliverAll('a');
      h.open('b');
      h.close('b');
      h.settle('a', 1, 0, 0);
      assert.deepEqual(h.partitionsOf('a'), [0, 1]);
      assert.deepEqual(h.deliver('a'), ['1:1']);
    });

    it('does not move what need not move', () => {
      const h = new Harness();
      for (let partition = 0; partition < 6; partition += 1) h.partition(partition, 0);
      for (const sessionId of ['a', 'b', 'c']) h.open(sessionId);
      const before = h.partitionsOf('a');
      h.effects();
      h.close('c');
      assert.deepEqual(
        before.filter((partition) => !h.partitionsOf('a').includes(partition)),
        [],
      );
      h.open('d');
      assert.equal(h.partitionsOf('a').length + h.partitionsOf('b').length, 4);
    });
  });

  describe('failure', () => {
    it('takes back what is behind a nacked message, and skips what was settled in between', () => {
      const h = new Harness();
      h.partition(0, 6);
      h.open('a');
      h.deliver('a');
      h.settle('a', 0, 3, 3);
      h.nack('a', 0, 1, 1, 0);
      assert.equal(h.outstanding('a'), 1, 'the message before it stays');
      assert.deepEqual(h.deliver('a'), ['0:1#2', '0:2', '0:4-5']);
    });

    it('lets the partition wait for the backoff, doubled with every failure', () => {
      const h = new Harness();
      h.partition(0, 2);
      h.open('a');
      for (const [attempt, waitMs] of [100, 200, 400].entries()) {
        h.deliver('a');
        h.nack('a', 0, 0);
        assert.equal(h.waitReason('a'), 'backoff');
        assert.equal(h.subscription.wakeAtMs, h.nowMs + waitMs);
        h.effects();
        h.advance(waitMs - 1);
        assert.equal(h.waitReason('a'), 'backoff');
        assert.deepEqual(h.effects().ready, []);
        h.advance(1);
        assert.deepEqual(h.effects().ready, ['a'], `after failure ${attempt + 1}`);
      }
      assert.deepEqual(h.deliver('a'), ['0:0#4', '0:1']);
    });

    it('wakes for the next message in its backoff once the one before it is out', () => {
      const h = new Harness();
      h.partition(0, 6);
      h.open('a');
      h.deliver('a');
      h.nack('a', 0, 5, 5, 900);
      h.nack('a', 0, 3, 3, 0);
      assert.deepEqual(h.deliverAll('a'), ['0:3#2', '0:4']);
      assert.equal(h.subscription.wakeAtMs, h.nowMs + 900);
      h.advance(900);
      assert.deepEqual(h.deliverAll('a'), ['0:5#2']);
    });

    it('overtakes the read that is under way', () => {
      const h = new Harness();
      h.partition(0, 6);
      h.open('a', { messages: 2, bytes: 1_000 });
      h.deliver('a');
      h.settle('a', 0, 0, 0);
      const fetch = h.fetch('a');
      h.nack('a', 0, 1, 1, 0);
      assert.equal(h.lease('a', fetch), undefined);
      assert.deepEqual(h.deliver('a'), ['0:1#2', '0:2']);
    });

    it('waits as long as the nack says', () => {
      const h = new Harness();
      h.partition(0, 1);
      h.open('a');
      h.deliver('a');
      h.nack('a', 0, 0, 0, 5_000);
      assert.equal(h.subscription.wakeAtMs, h.nowMs + 5_000);
      h.advance(5_000);
      assert.deepEqual(h.deliver('a'), ['0:0#2']);
    });

    it('dead-letters a message that failed often enough, without holding up what is behind it', () => {
      const h = new Harness({ maxAttempts: 2 });
      h.partition(0, 3);
      h.open('a');
      h.deliver('a');
      h.nack('a', 0, 0, 0, 0);
      h.deliver('a');
      h.effects();
      h.nack('a', 0, 0, 0, 0);
      const effects = h.effects();
      assert.deepEqual(effects.deadLetterRequests, [
        { partition: 0, offset: 0, attempts: 2, reason: 'nacked: the consumer gave no reason' },
      ]);
      assert.deepEqual(effects.dirtyPartitions, [0]);
      assert.equal(h.outstanding('a'), 2);
      h.settle('a', 0, 1, 2);
      assert.equal(h.subscription.cursor(0).acknowledgedOffset, 0, 'the cursor waits for the dead letter');
      assert.deepEqual(h.subscription.status(0, 0), { kind: 'failed', failedAttempts: 2 });
      h.subscription.deadLettered(0, 0);
      assert.deepEqual(h.subscription.cursor(0), {
        ...freshCursor,
        acknowledgedOffset: 3,
        deadLetterCount: 1,
      });
    });

    it('dead-letters at once what the consumer gives up', () => {
      const h = new Harness();
      h.partition(0, 2);
      h.open('a');
      h.deliver('a');
      h.settle('a', 0, 0, 0, { kind: 'deadLetter', reason: 'not an order' });
      assert.deepEqual(h.effects().deadLetterRequests, [
        { partition: 0, offset: 0, attempts: 1, reason: 'not an order' },
      ]);
      assert.equal(h.outstanding('a'), 1);
    });

    it('delivers again what could not be dead-lettered, in order and after a backoff', () => {
      const h = new Harness({ maxAttempts: 1 });
      h.partition(0, 3);
      h.open('a');
      h.deliver('a');
      h.nack('a', 0, 0);
      h.subscription.deadLetterFailed(0, 0, h.nowMs);
      assert.equal(h.outstanding('a'), 0, 'what was behind it comes after it');
      assert.equal(h.waitReason('a'), 'backoff');
      h.advance(100);
      assert.deepEqual(h.deliver('a'), ['0:0#2', '0:1-2']);
    });

    it('dead-letters after a restart what had failed often enough before it', () => {
      const h = new Harness({ maxAttempts: 3 });
      h.partition(0, 5, {
        ...freshCursor,
        failed: [
          { offset: 1, attempts: 3 },
          { offset: 2, attempts: 2 },
        ],
      });
      assert.deepEqual(
        h.effects().deadLetterRequests.map(({ offset }) => offset),
        [1],
      );
      h.open('a');
      assert.deepEqual(h.deliver('a'), ['0:0', '0:2#3', '0:3-4']);
    });
  });

  describe('the end of a session', () => {
    it('frees what it held at once, and counts the first message as failed', () => {
      const h = new Harness();
      h.partition(0, 4);
      h.open('a');
      h.deliver('a');
      h.settle('a', 0, 0, 0);
      h.open('b');
      h.close('a');
      assert.deepEqual(h.deliver('b'), ['0:1#2', '0:2-3']);
    });

    it('counts nothing where it was agreed', () => {
      const h = new Harness();
      h.partition(0, 4);
      h.open('a');
      h.deliver('a');
      h.open('b');
      h.close('a', 'left');
      assert.deepEqual(h.deliver('b'), ['0:0-3']);
    });

    it('counts nothing for what never left', () => {
      const h = new Harness();
      h.partition(0, 4);
      h.open('a');
      h.leaseNext('a');
      h.close('a');
      h.open('b');
      assert.deepEqual(h.deliver('b'), ['0:0-3']);
    });

    it('makes reads and bytes of the session meaningless', () => {
      const h = new Harness();
      h.partition(0, 4);
      h.open('a', { messages: 1, bytes: 100 });
      const { deliveryId } = h.leaseNext('a');
      h.subscription.setCredit('a', plenty);
      const fetch = h.fetch('a');
      h.close('a');
      h.subscription.sent(deliveryId, h.nowMs);
      assert.equal(h.lease('a', fetch), undefined);
      assert.equal(h.subscription.wakeAtMs, Number.POSITIVE_INFINITY);
      h.open('b');
      assert.equal(h.lease('b', fetch), undefined, 'the read of another session');
      assert.deepEqual(h.deliver('b'), ['0:0-3']);
    });
  });

  describe('seeking and retention', () => {
    it('revokes what is out and forgets attempts', () => {
      const h = new Harness();
      h.partition(0, 10);
      h.open('a');
      h.deliver('a');
      h.settle('a', 0, 0, 4);
      h.nack('a', 0, 5, 5, 60_000);
      h.subscription.seek(0, 2, h.nowMs);
      assert.equal(h.outstanding('a'), 0);
      assert.deepEqual(h.subscription.cursor(0), { ...freshCursor, acknowledgedOffset: 2 });
      assert.deepEqual(h.deliver('a'), ['0:2-9']);
    });

    it('overtakes the read that is under way', () => {
      const h = new Harness();
      h.partition(0, 10);
      h.open('a');
      const fetch = h.fetch('a');
      h.subscription.seek(0, 7, h.nowMs);
      assert.equal(h.waitReason('a'), 'reading', 'one read of a partition at a time');
      assert.equal(h.lease('a', fetch), undefined);
      assert.deepEqual(h.deliver('a'), ['0:7-9']);
    });

    it('counts what retention drops as settled, without a failure', () => {
      const h = new Harness();
      h.partition(0, 10);
      h.open('a', { messages: 6, bytes: 1_000 });
      h.deliver('a');
      h.settle('a', 0, 5, 5);
      h.subscription.setFirst(0, 4);
      assert.deepEqual(h.subscription.cursor(0), {
        ...freshCursor,
        acknowledgedOffset: 4,
        settled: [{ first: 5, last: 5 }],
      });
      assert.equal(h.outstanding('a'), 1);
      h.subscription.setFirst(0, 8);
      assert.deepEqual(h.deliver('a'), ['0:8-9']);
    });
  });

  it('waits for the backoff of the message that retention leaves first', () => {
    const h = new Harness();
    h.partition(0, 6);
    h.open('a');
    h.deliver('a');
    h.nack('a', 0, 5, 5, 500);
    h.nack('a', 0, 3, 3, 900);
    h.subscription.setFirst(0, 5);
    assert.equal(h.subscription.wakeAtMs, h.nowMs + 500);
  });

  it('applies a new policy from the moment it is set', () => {
    const h = new Harness();
    h.partition(0, 1);
    h.open('a');
    h.deliver('a');
    h.subscription.setPolicy({ ...defaultPolicy, maxAttempts: 1 });
    h.nack('a', 0, 0);
    assert.equal(h.effects().deadLetterRequests.length, 1);
  });

  it('goes on at once when retention deletes the message whose backoff it waits for', () => {
    const h = new Harness();
    h.partition(0, 2);
    h.open('a');
    h.deliver('a');
    h.nack('a', 0, 0, 0, 5_000);
    assert.equal(h.waitReason('a'), 'backoff');
    h.effects();
    h.subscription.setFirst(0, 1);
    assert.deepEqual(h.serve(), { a: ['0:1'] });
  });
});

describe('the end of a partition', () => {
  it('never moves back, and wakes sessions only when it moves', () => {
    for (const ordering of ['partition', 'key'] as const) {
      const h = new Harness({ ordering });
      h.partition(0, 3);
      h.open('a');
      h.serve();
      h.subscription.setEnd(0, 3);
      assert.deepEqual(h.effects().ready, []);
      h.subscription.setEnd(0, 1);
      assert.equal(h.subscription.partitionStatus(0).backlogMessageCount, 3);
      h.subscription.setEnd(0, 4);
      assert.deepEqual(h.effects().ready, ['a']);
    }
  });
});
