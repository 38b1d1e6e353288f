import assert from 'node:assert/strict';
import { Harness, plenty } from './harness.js';

const paused = { messages: 0, bytes: 0 };
const one = { messages: 1, bytes: 1_000 };

describe('a session that let a lease lapse and has said nothing since', () => {
  it('loses its partition to another session that waits', () => {
    const h = new Harness();
    h.partition(0, 3);
    h.open('hung');
    h.serve();
    h.open('healthy');
    h.serve();
    h.advance(1_000);
    h.advance(100);
    assert.deepEqual(h.partitionsOf('healthy'), [0]);
    assert.deepEqual(h.serve(), { healthy: ['0:0#2', '0:1-2'] });
  });

  it('loses its partition to one that comes later', () => {
    const h = new Harness();
    h.partition(0, 1);
    h.open('hung', one);
    h.serve();
    h.advance(1_000);
    h.advance(100);
    assert.deepEqual(h.serve(), { hung: ['0:0#2'] }, 'there is no other session');
    h.open('healthy');
    h.advance(1_000);
    h.advance(200);
    assert.deepEqual(h.serve(), { healthy: ['0:0#3'] });
  });

  it('loses all its partitions, each when what it holds there has ended, and no others lose theirs', () => {
    const h = new Harness();
    for (let partition = 0; partition < 4; partition += 1) h.partition(partition, 1);
    h.open('hung');
    h.open('busy');
    h.serve();
    const [first, second] = h.partitionsOf('hung');
    const kept = h.partitionsOf('busy');
    h.settle('hung', second!, 0, 0, { kind: 'extend', byMs: 9_000 });
    for (const partition of kept) h.settle('busy', partition, 0, 0, { kind: 'extend', byMs: 90_000 });
    h.advance(1_000);
    assert.deepEqual(h.partitionsOf('busy'), [...kept, first!].sort());
    assert.deepEqual(h.partitionsOf('hung'), [second]);
    h.advance(8_000);
    assert.deepEqual(h.partitionsOf('busy'), [0, 1, 2, 3]);
  });

  it('keeps its partition while the only other one is paused', () => {
    const h = new Harness();
    h.partition(0, 1);
    h.open('hung');
    h.serve();
    h.open('paused', paused);
    h.advance(1_000);
    assert.deepEqual(h.partitionsOf('hung'), [0]);
    h.subscription.setCredit('paused', plenty);
    assert.deepEqual(h.partitionsOf('paused'), [0]);
  });

  it('is tried again after ten lease times and at least a minute, then after twice as long', () => {
    const h = new Harness({ ordering: 'none', maxBackoffMs: 100 });
    h.partition(0, 1);
    h.open('hung', one);
    h.serve();
    h.open('healthy', plenty);
    h.serve();
    h.advance(1_000);
    h.advance(100);
    assert.deepEqual(h.serve(), { healthy: ['0:0#2'] });
    h.append(0, new Array<number>(10).fill(0));
    assert.deepEqual(h.serve(), { healthy: ['0:1-10'] });
    h.settle('healthy', 0, 0, 10);
    h.serve();
    h.advance(59_800);
    h.append(0, [0]);
    assert.deepEqual(h.serve(), { healthy: ['0:11'] });
    h.advance(100);
    h.append(0, [0]);
    assert.deepEqual(h.serve(), { hung: ['0:12'] });
    h.settle('healthy', 0, 11, 11);
    h.advance(1_000);
    h.advance(100);
    assert.deepEqual(h.serve(), { healthy: ['0:12#2'] });
    h.settle('healthy', 0, 12, 12);
    h.advance(119_800);
    h.append(0, [0]);
    assert.deepEqual(h.serve(), { healthy: ['0:13'] });
    h.advance(100);
    h.append(0, [0]);
    assert.deepEqual(h.serve(), { hung: ['0:14'] });
  });

  it('has its share again when it is heard of', () => {
    const h = new Harness();
    h.partition(0, 1);
    h.partition(1, 1);
    h.open('a');
    h.open('b');
    h.serve();
    const [partition] = h.partitionsOf('a');
    const [other] = h.partitionsOf('b');
    h.settle('b', other!, 0, 0);
    h.advance(1_000);
    assert.deepEqual(h.partitionsOf('b'), [0, 1]);
    const { stale } = h.settle('a', partition!, 0, 0);
    assert.deepEqual(stale, [{ partition, first: 0, last: 0 }], 'late, but it says that the consumer lives');
    assert.equal(h.partitionsOf('a').length, 1);
  });

  for (const ordering of ['none', 'key'] as const) {
    it(`gets nothing while another session could, even one that is busy, order ${ordering}`, () => {
      const h = new Harness({ ordering });
      h.partition(0, 0);
      h.append(0, [1, 2]);
      h.open('hung', one);
      h.serve();
      h.open('healthy', one);
      h.serve();
      h.settle('healthy', 0, 1, 1, { kind: 'extend', byMs: 90_000 });
      h.advance(1_000);
      h.advance(100);
      assert.deepEqual(h.serve(), {}, 'the healthy one is at work');
      assert.equal(h.waitReason('hung'), 'notAssigned');
      h.settle('healthy', 0, 1, 1);
      assert.deepEqual(h.serve(), { healthy: ['0:0#2'] });
    });

    it(`gets work again when it is heard of, or when all others have gone or are paused, order ${ordering}`, () => {
      const h = new Harness({ ordering });
      h.partition(0, 0);
      h.append(0, [1, 2]);
      h.open('hung', one);
      h.serve();
      h.open('healthy', one);
      h.serve();
      h.settle('healthy', 0, 1, 1, { kind: 'extend', byMs: 90_000 });
      h.advance(1_000);
      h.advance(100);
      assert.deepEqual(h.serve(), {});
      h.subscription.setCredit('healthy', paused);
      assert.deepEqual(h.serve(), { hung: ['0:0#2'] });
      h.advance(1_000);
      h.advance(200);
      h.subscription.setCredit('healthy', one);
      assert.deepEqual(h.serve(), {});
      h.close('healthy', 'left');
      const afterLeaving = h.serve().hung ?? [];
      assert.equal(afterLeaving.length, 1, 'it is the last choice, but a choice');
      h.open('healthy', one);
      h.serve();
      h.advance(1_000);
      h.advance(500);
      h.serve();
      h.settle('hung', 0, 0, 1);
      h.append(0, [3, 4]);
      h.serve();
      assert.equal(h.outstanding('hung'), 1, 'it was heard of');
    });
  }
});
