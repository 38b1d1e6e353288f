import assert from 'node:assert/strict';
import { limits } from '../../../src/base/limits.js';
import { freshCursor, Harness, plenty } from './harness.js';

const two = { messages: 2, bytes: 1_000 };

describe('a subscription without order', () => {
  it('gives any message to any session with credit', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 5);
    h.open('a', two);
    h.open('b', two);
    assert.deepEqual(h.deliver('a'), ['0:0-1']);
    assert.deepEqual(h.deliver('b'), ['0:2-3']);
    h.settle('b', 0, 2, 3);
    assert.deepEqual(h.deliver('b'), ['0:4']);
    assert.deepEqual(h.partitionsOf('a'), []);
  });

  it('delivers a failed message again by itself, to any session', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 4);
    h.open('a');
    h.open('b');
    h.deliver('a');
    h.nack('a', 0, 1);
    h.nack('a', 0, 2, 2, 0);
    assert.equal(h.outstanding('a'), 2);
    assert.deepEqual(h.deliver('b'), ['0:2#2']);
    assert.equal(h.waitReason('b'), 'backoff');
    h.advance(100);
    assert.deepEqual(h.deliver('b'), ['0:1#2']);
    assert.equal(h.waitReason('b'), 'caughtUp');
  });

  it('frees what a session held', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 6);
    h.open('a', two);
    h.open('b', two);
    h.deliver('a');
    h.deliver('b');
    h.close('a', 'left');
    h.subscription.setCredit('b', plenty);
    assert.deepEqual(h.deliverAll('b'), ['0:0-1', '0:4-5']);
  });

  it('skips what was settled before a restart', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 6, { ...freshCursor, acknowledgedOffset: 1, settled: [{ first: 3, last: 4 }] });
    h.open('a');
    assert.deepEqual(h.deliver('a'), ['0:1-2', '0:5']);
  });

  it('wakes the idle session with the fewest outstanding messages, and the next one for what that one leaves', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 1);
    h.open('busy');
    h.deliver('busy');
    h.open('poor', { messages: 1, bytes: 1_000 });
    h.open('broke', { messages: 0, bytes: 0 });
    h.waitReason('broke');
    for (const sessionId of ['busy', 'poor']) assert.equal(h.waitReason(sessionId), 'caughtUp');
    h.effects();
    h.append(0, [0, 0, 0, 0]);
    assert.deepEqual(h.effects().ready, ['poor']);
    h.deliver('poor');
    assert.deepEqual(h.effects().ready, ['busy']);
    h.deliver('busy');
    assert.deepEqual(h.effects().ready, [], 'no other session has credit');
    h.settle('poor', 0, 1, 1);
    assert.deepEqual(h.effects().ready, ['poor']);
  });

  it('calls no session that lacks credit for a key that is its own: serving would never end', () => {
    const h = new Harness({ ordering: 'key' });
    const one = { messages: 1, bytes: 1_000 };
    h.partition(0, 0);
    h.open('a', one);
    h.open('b', one);
    h.append(0, [1, 2, 1, 2]);
    assert.deepEqual(h.deliver('a'), ['0:0']);
    assert.deepEqual(h.deliver('b'), ['0:1']);
    h.subscription.setCredit('b', two);
    h.deliverAll('b');
    h.effects();
    assert.equal(h.waitReason('a'), 'messageCredit');
    assert.deepEqual(
      h.effects().ready.filter((sessionId) => sessionId === 'a'),
      [],
    );
    h.settle('a', 0, 0, 0);
    assert.deepEqual(h.effects().ready, ['a']);
    assert.deepEqual(h.deliver('a'), ['0:2']);
  });

  it('wakes another one when the woken session ends instead', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 0);
    h.open('a');
    h.open('b', two);
    for (const sessionId of ['a', 'b']) h.waitReason(sessionId);
    h.effects();
    h.append(0, [0]);
    assert.deepEqual(h.effects().ready, ['a']);
    h.close('a');
    assert.deepEqual(h.effects().ready, ['b']);
  });

  it('wakes another one when the woken session has no credit any more', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 0);
    h.open('a');
    h.open('b', two);
    for (const sessionId of ['a', 'b']) h.waitReason(sessionId);
    h.effects();
    h.append(0, [0]);
    h.subscription.setCredit('a', { messages: 0, bytes: 0 });
    assert.deepEqual(h.effects().ready, ['a']);
    assert.equal(h.waitReason('a'), 'messageCredit');
    assert.deepEqual(h.effects().ready, ['b']);
  });

  it('forgets backoffs when it is moved', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 3);
    h.open('a');
    h.deliver('a');
    h.nack('a', 0, 1, 1, 900);
    h.subscription.seek(0, 0, h.nowMs);
    assert.deepEqual(h.deliverAll('a'), ['0:0-2']);
    h.advance(900);
    assert.equal(h.waitReason('a'), 'caughtUp');
  });

  it('reads a partition for one session at a time', () => {
    const h = new Harness({ ordering: 'none' });
    h.partition(0, 4);
    h.open('a', two);
    h.open('b', two);
    const fetch = h.fetch('a');
    assert.equal(h.waitReason('b'), 'reading');
    h.effects();
    h.append(0, [0]);
    assert.deepEqual(h.effects().ready, [], 'no session could read it yet');
    h.lease('a', fetch);
    assert.deepEqual(h.effects().ready, ['b']);
  });
});

describe('a subscription in order of keys', () => {
  it('does not call a session ready, again and again, for what is reserved for it but beyond its credit', () => {
    const h = new Harness({ ordering: 'key' });
    h.partition(0, 0);
    h.append(0, [1, 2, 1, 3]);
    h.open('a', two);
    h.open('b', { messages: 1, bytes: 1_000 });
    assert.deepEqual(h.deliver('a'), ['0:0-1']);
    assert.deepEqual(h.deliver('b'), ['0:3'], 'found behind one that is now reserved for a');
    h.effects();
    assert.equal(h.waitReason('a'), 'messageCredit');
    assert.deepEqual(h.effects().ready, [], 'it would ask, wait, and be named again without an end');
    h.settle('a', 0, 1, 1);
    assert.deepEqual(h.effects().ready, ['a']);
    assert.deepEqual(h.deliver('a'), ['0:2']);
  });

  it('keeps a key with the session that has its messages, and lets other keys pass', () => {
    const h = new Harness({ ordering: 'key' });
    h.partition(0, 0);
    h.append(0, [1, 2, 1, 3, 0, 1]);
    h.open('a', two);
    h.open('b', plenty);
    assert.deepEqual(h.deliver('a'), ['0:0-1']);
    assert.deepEqual(h.deliver('b'), ['0:3-4']);
    assert.equal(h.waitReason('b'), 'notAssigned');
    h.settle('a', 0, 1, 1);
    assert.deepEqual(h.deliver('a'), ['0:2'], 'the next of its key');
    h.effects();
    h.settle('a', 0, 0, 2);
    assert.ok(h.effects().ready.includes('b'), 'the key is free');
    assert.deepEqual(h.deliver('b'), ['0:5']);
  });

  it('takes back what is behind the first message of each key, if messages of several keys come back at once', () => {
    for (const firstKey of [1, 2]) {
      const h = new Harness({ ordering: 'key' });
      h.partition(0, 0);
      const otherKey = 3 - firstKey;
      h.append(0, [firstKey, firstKey, otherKey, 0, otherKey]);
      h.open('a');
      assert.deepEqual(h.deliver('a'), ['0:0-4']);
      for (const kept of [1, 3, 4]) h.settle('a', 0, kept, kept, { kind: 'extend', byMs: 9_000 });
      h.effects();
      // The leases of the messages 0 and 2 run out.
      h.advance(1_000);
      assert.equal(h.outstanding('a'), 1, 'all but the message without a key');
      assert.deepEqual(h.effects().revocations, [
        {
          sessionId: 'a',
          offsets: [
            { partition: 0, first: 0, last: 2 },
            { partition: 0, first: 4, last: 4 },
          ],
        },
      ]);
      h.settle('a', 0, 3, 3);
      h.advance(100);
      assert.deepEqual(
        h
          .deliverAll('a')
          .map((each) => each.replace(/#\d/, ''))
          .slice(0, 1),
        ['0:0'],
      );
    }
  });

  it('takes back what is behind a failed message of the same key, and nothing else', () => {
    const h = new Harness({ ordering: 'key' });
    h.partition(0, 0);
    h.append(0, [1, 2, 1, 0, 1, 2]);
    h.open('a');
    h.deliver('a');
    h.nack('a', 0, 0);
    assert.equal(h.outstanding('a'), 3);
    h.append(0, [1, 2]);
    assert.deepEqual(h.deliverAll('a'), ['0:7'], 'the other key goes on, to its holder');
    h.advance(100);
    assert.deepEqual(h.deliverAll('a'), ['0:0#2', '0:2', '0:4', '0:6']);
  });

  it('tells the holder of a key of its next message once the read of another session is over', () => {
    const h = new Harness({ ordering: 'key' });
    h.partition(0, 0);
    h.append(0, [1]);
    h.open('a');
    h.open('b');
    h.deliver('a');
    h.append(0, [1, 2]);
    assert.deepEqual(h.deliver('b'), ['0:2']);
    h.append(0, [3]);
    const fetch = h.fetch('b');
    assert.equal(h.waitReason('a'), 'reading');
    h.effects();
    h.lease('b', fetch);
    assert.deepEqual(h.effects().ready, ['a']);
    assert.deepEqual(h.deliver('a'), ['0:1']);
  });

  it('gives a freed key to any session, in order', () => {
    const h = new Harness({ ordering: 'key' });
    h.partition(0, 0);
    h.append(0, [1, 1, 1]);
    h.open('a');
    h.open('b');
    h.deliver('a');
    h.close('a');
    assert.deepEqual(h.deliverAll('b'), ['0:0#2', '0:1-2']);
  });

  it('reads only so far ahead, and goes on when there is room', () => {
    const h = new Harness({ ordering: 'key' });
    h.partition(0, 0);
    h.append(0, [1]);
    h.append(0, new Array<number>(limits.deferredMessages).fill(1));
    h.append(0, [2]);
    h.open('a', { messages: 1, bytes: 1_000 });
    h.open('b');
    h.deliver('a');
    assert.deepEqual(h.deliverAll('b'), []);
    assert.equal(h.waitReason('b'), 'notAssigned', 'the message of key 2 is too far ahead');
    h.effects();
    h.settle('a', 0, 0, 0);
    assert.ok(h.effects().ready.includes('b'));
    h.deliver('a');
    assert.deepEqual(h.deliverAll('b'), ['0:10001']);
  });

  it('drops what waits for its key when retention does', () => {
    const h = new Harness({ ordering: 'key' });
    h.partition(0, 0);
    h.append(0, [1, 1, 1, 1]);
    h.open('a', { messages: 1, bytes: 1_000 });
    h.open('b');
    h.deliver('a');
    assert.deepEqual(h.deliverAll('b'), []);
    h.subscription.setFirst(0, 2);
    assert.deepEqual(h.deliverAll('b'), ['0:2-3']);
    h.settle('b', 0, 2, 3);
    assert.equal(h.waitReason('b'), 'caughtUp');
  });
});
