import assert from 'node:assert/strict';
import { SluiceError } from '../../../../src/base/errors.js';
import { limits } from '../../../../src/base/limits.js';
import { PagedMap } from '../../../../src/broker/topics/paging.js';

function mapOf(keys: readonly string[]): PagedMap<string> {
  const map = new PagedMap<string>();
  for (const key of keys) map.set(key, key.toUpperCase());
  return map;
}

describe('PagedMap', () => {
  it('pages through everything once, in order', () => {
    const map = mapOf(['d', 'a', 'c', 'e', 'b']);
    const first = map.page(2, '');
    const second = map.page(2, first.nextPageToken);
    const third = map.page(2, second.nextPageToken);
    assert.deepEqual(
      [first, second, third].map((page) => page.items),
      [['A', 'B'], ['C', 'D'], ['E']],
    );
    assert.equal(third.nextPageToken, '');
  });

  it('neither skips nor repeats what stays while others come and go', () => {
    const map = mapOf(['a', 'b', 'd', 'e']);
    const first = map.page(2, '');
    map.delete('b');
    map.set('c', 'C');
    map.set('aa', 'AA');
    assert.deepEqual(map.page(10, first.nextPageToken).items, ['C', 'D', 'E']);
  });

  it('has a default size and a largest one', () => {
    const map = mapOf(Array.from({ length: 2_000 }, (_, i) => `k${i}`));
    assert.equal(map.page(0, '').items.length, limits.defaultPageSize);
    assert.equal(map.page(1_000_000, '').items.length, limits.maxPageSize);
  });

  it('refuses a token that it did not give out', () => {
    const isRefused = (error: unknown) =>
      error instanceof SluiceError && error.reason === 'INVALID_PAGE_TOKEN';
    const tooLong = Buffer.from(`v1.${'a'.repeat(limits.maxPageTokenLength)}`).toString('base64url');
    for (const token of ['x', 'b', '!!', 'djEuYQ==', 'YQ', tooLong]) {
      assert.throws(() => mapOf(['a', 'b']).page(1, token), isRefused, token);
    }
  });
});
