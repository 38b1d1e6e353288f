import assert from 'node:assert/strict';
import { Ordering } from '@sluice/client/api';
import type { HeldMessage } from '#client/consumer/held-message.js';
import { Lanes } from '#client/consumer/lanes.js';
import { messagesOf } from './messages.js';

/** Takes all that may be handled now. */
function takeAll(lanes: Lanes, isExclusive = true): HeldMessage[] {
  const taken: HeldMessage[] = [];
  for (let next = lanes.take(isExclusive); next !== undefined; next = lanes.take(isExclusive))
    taken.push(next);
  return taken;
}

const places = (messages: Iterable<HeldMessage>) =>
  Array.from(messages, ({ partition, offsetNumber }) => `${partition}/${offsetNumber}`);

describe('Lanes', () => {
  it('hand out one message of each partition, and the next when it is done', () => {
    const lanes = new Lanes();
    lanes.add(messagesOf(['', '', ''], 0, 0), Ordering.PARTITION);
    lanes.add(messagesOf(['', ''], 7, 1), Ordering.PARTITION);
    const [first, second] = takeAll(lanes);
    assert.deepEqual(places([first!, second!]), ['0/0', '1/7']);
    assert.deepEqual(places(lanes), ['0/1', '0/2', '1/8']);
    lanes.done(second!.lane);
    assert.deepEqual(places(takeAll(lanes)), ['1/8']);
    lanes.done(first!.lane);
    assert.deepEqual(places(takeAll(lanes)), ['0/1']);
    assert.equal(lanes.count, 1);
  });

  it('hand out one message of each key of a partition, and all of those without', () => {
    const lanes = new Lanes();
    lanes.add(messagesOf(['a', 'a', '', 'b', '', 'a']), Ordering.KEY);
    lanes.add(messagesOf(['a'], 0, 1), Ordering.KEY);
    const taken = takeAll(lanes);
    assert.deepEqual(places(taken).sort(), ['0/0', '0/2', '0/3', '0/4', '1/0']);
    for (const { lane } of taken) lanes.done(lane);
    assert.deepEqual(places(takeAll(lanes)), ['0/1']);
  });

  it('hand out everything at once where there is no order', () => {
    const lanes = new Lanes();
    lanes.add(messagesOf(['a', 'a', 'a']), Ordering.NONE);
    assert.equal(takeAll(lanes).length, 3);
  });

  it('hold what is behind a nack until all of them are answered, without what was taken back', () => {
    const lanes = new Lanes();
    lanes.add(messagesOf(['', '', '', '']), Ordering.PARTITION);
    const message = lanes.take(true)!;
    lanes.hold(message.lane);
    lanes.hold(message.lane);
    lanes.done(message.lane);
    const [lost] = [...lanes];
    lanes.revoke([{ partition: 0, first: 1, last: 2 }]);
    assert.equal(lost!.signal.aborted, true);
    lanes.release(message.lane);
    assert.equal(lanes.take(true), undefined);
    lanes.release(message.lane);
    assert.deepEqual(places(takeAll(lanes)), ['0/3']);
  });

  it('hold a lane that was empty and forgotten when what it brought was nacked', () => {
    const lanes = new Lanes();
    lanes.add(messagesOf(['']), Ordering.PARTITION);
    const iterated = lanes.take(false)!;
    lanes.hold(iterated.lane);
    lanes.add(messagesOf(['', ''], 1), Ordering.PARTITION);
    assert.equal(lanes.take(false), undefined);
    lanes.release(iterated.lane);
    assert.deepEqual(places(takeAll(lanes, false)), ['0/1', '0/2']);
  });

  it('keep one lane for what an iterator took before and after it was forgotten', () => {
    const lanes = new Lanes();
    lanes.add(messagesOf(['']), Ordering.PARTITION);
    const early = lanes.take(false)!;
    lanes.add(messagesOf([''], 1), Ordering.PARTITION);
    lanes.hold(early.lane);
    lanes.release(early.lane);
    lanes.release(early.lane);
    lanes.add(messagesOf([''], 2), Ordering.PARTITION);
    const next = lanes.take(true)!;
    assert.deepEqual(places([next]), ['0/1']);
    assert.equal(lanes.take(true), undefined, 'the partition is busy');
  });

  it('keep a lane busy over a reset, and nothing else', () => {
    const lanes = new Lanes();
    lanes.add(messagesOf(['a', 'a', 'b', 'b']), Ordering.KEY);
    const [a, b] = takeAll(lanes);
    lanes.hold(b!.lane);
    lanes.done(b!.lane);
    const waiting = [...lanes];
    lanes.reset();
    assert(waiting.every(({ signal }) => signal.aborted));
    assert.equal(lanes.count, 0);
    lanes.release(b!.lane);
    lanes.add(messagesOf(['a', 'b']), Ordering.KEY);
    assert.deepEqual(places(takeAll(lanes)), ['0/1']);
    lanes.done(a!.lane);
    assert.deepEqual(places(takeAll(lanes)), ['0/0']);
  });
});
