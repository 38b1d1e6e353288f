import assert from 'node:assert/strict';
import { hashKey, orderingKey, partitionOfKey, Spreader } from '../../../src/core/routing.js';

/** Worked out apart from the code. They never change: stored messages stand where they were routed. */
const vectors: readonly (readonly [key: string, hash: number])[] = [
  ['', 2872998923],
  ['a', 444641715],
  ['b', 2193908274],
  ['order-1', 2449496732],
  ['order-2', 2010665664],
  ['\u0000', 91794203],
  ['schlüssel', 1660859099],
  ['0123456789'.repeat(10), 2144348767],
];

describe('routing', () => {
  it('hashes keys as it always did', () => {
    for (const [key, hash] of vectors) {
      const bytes = new TextEncoder().encode(key);
      assert.equal(hashKey(bytes, 0, bytes.length), hash, JSON.stringify(key));
      assert.equal(partitionOfKey(bytes, 0, bytes.length, 16), hash % 16);
      assert.equal(partitionOfKey(bytes, 0, bytes.length, 7), hash % 7);
    }
  });

  it('looks at the key and at nothing around it', () => {
    const bytes = new TextEncoder().encode('xxorder-1yy');
    assert.equal(hashKey(bytes, 2, 9), 2449496732);
  });

  it('spreads keys evenly', () => {
    const counts = new Array<number>(16).fill(0);
    for (let i = 0; i < 16_000; i += 1) {
      const bytes = new TextEncoder().encode(`customer-${i}`);
      counts[partitionOfKey(bytes, 0, bytes.length, 16)]! += 1;
    }
    for (const count of counts) assert.ok(count > 850 && count < 1_150, `${counts}`);
  });

  it('tells messages with a key from those without', () => {
    const bytes = new TextEncoder().encode('a');
    assert.equal(orderingKey(bytes, 0, 0), 0);
    assert.equal(orderingKey(bytes, 0, 1), 444641715);
  });

  it('sends batches without a key to one partition after the other', () => {
    const spreader = new Spreader(1);
    assert.deepEqual(
      [3, 3, 3, 3].map((count) => spreader.next(count)),
      [1, 2, 0, 1],
    );
    assert.equal(spreader.next(1), 0, 'fewer partitions than before');
  });
});
