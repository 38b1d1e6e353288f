import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DeadlineHeap } from '../../../src/base/deadline-heap.js';

describe('DeadlineHeap', () => {
  it('gives out what is due, soonest first, and nothing early', () => {
    const heap = new DeadlineHeap<string>();
    heap.set('b', 20);
    heap.set('a', 10);
    heap.set('c', 30);
    assert.equal(heap.nextAtMs, 10);
    assert.equal(heap.popDue(9), undefined);
    assert.equal(heap.popDue(25), 'a');
    assert.equal(heap.popDue(25), 'b');
    assert.equal(heap.popDue(25), undefined);
    assert.equal(heap.size, 1);
  });

  it('moves an item that is set again, and takes it out at Infinity', () => {
    const heap = new DeadlineHeap<string>();
    heap.set('a', 10);
    heap.set('b', 20);
    heap.set('a', 30);
    assert.equal(heap.nextAtMs, 20);
    heap.set('b', Number.POSITIVE_INFINITY);
    assert.equal(heap.nextAtMs, 30);
    assert.equal(heap.size, 1);
  });

  it('behaves as a sorted list does, whatever is done to it', () => {
    const change = fc.record({
      item: fc.integer({ min: 0, max: 20 }),
      atMs: fc.oneof(fc.integer({ min: 0, max: 100 }), fc.constant(Number.POSITIVE_INFINITY)),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
        const heap = new DeadlineHeap<number>();
        const model = new Map<number, number>();
        for (const { item, atMs } of changes) {
          heap.set(item, atMs);
          if (atMs === Number.POSITIVE_INFINITY) model.delete(item);
          else model.set(item, atMs);
          assert.equal(heap.nextAtMs, Math.min(Number.POSITIVE_INFINITY, ...model.values()));
        }
        const order: number[] = [];
        for (;;) {
          const item = heap.popDue(Number.MAX_VALUE);
          if (item === undefined) break;
          order.push(model.get(item)!);
        }
        assert.deepEqual(
          order,
          [...model.values()].sort((a, b) => a - b),
        );
      }),
    );
  });
});
