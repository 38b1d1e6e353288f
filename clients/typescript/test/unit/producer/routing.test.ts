import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { OffsetRangeSchema } from '@sluice/client/api';
import fc from 'fast-check';
import { hashOfKey, placesOf } from '#client/producer/routing.js';
import { hashKey } from '../../../../../src/core/routing.js';

const range = (partition: number, first: number, last: number) =>
  create(OffsetRangeSchema, { partition, firstOffset: BigInt(first), lastOffset: BigInt(last) });

const texts = (places: ReturnType<typeof placesOf>) =>
  places?.map(({ partition, offset }) => `${partition}/${offset}`);

describe('routing, in the producer', () => {
  it('hashes keys as the broker does', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (key) => {
        assert.equal(hashOfKey(key), hashKey(key, 0, key.length));
        const longer = Buffer.concat([Buffer.from('ab'), key, Buffer.from('c')]);
        assert.equal(hashOfKey(longer, 2, 2 + key.length), hashOfKey(key));
      }),
    );
  });

  it('finds places in one range, and in several of one partition', () => {
    assert.deepEqual(texts(placesOf([1, undefined, 2], [range(3, 10, 12)], 8)), ['3/10', '3/11', '3/12']);
    const split = [range(1, 0, 0), range(1, 5, 6)];
    assert.deepEqual(texts(placesOf([1, 1, 1], split, 4)), ['1/0', '1/5', '1/6']);
  });

  it('finds where messages without a key went by what the keys do not explain', () => {
    const ranges = [range(0, 7, 7), range(1, 4, 6), range(2, 9, 9)];
    const hashes = [4, undefined, 5, undefined, 6];
    assert.deepEqual(texts(placesOf(hashes, ranges, 4)), ['0/7', '1/4', '1/5', '1/6', '2/9']);
  });

  it('says nothing where the ranges contradict the number of partitions', () => {
    assert.equal(placesOf([4, 5], [range(0, 0, 0), range(5, 0, 0)], 4), undefined);
    assert.equal(placesOf([undefined, 4, 5], [range(0, 0, 1), range(1, 0, 1)], 4), undefined);
    assert.equal(placesOf([1, 2], [range(0, 0, 2)], 4), undefined);
  });
});
