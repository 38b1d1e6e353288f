import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { Page } from '../types.js';

/**
 * Pages through items in the order of their keys. A page token contains the last key of its page: if the list
 * changes between two pages, items that stay are neither skipped nor repeated.
 */
export class PagedMap<T> {
  readonly #items = new Map<string, T>();
  #keys: string[] | undefined;

  get size(): number {
    return this.#items.size;
  }

  get(key: string): T | undefined {
    return this.#items.get(key);
  }

  set(key: string, item: T): void {
    if (!this.#items.has(key)) this.#keys = undefined;
    this.#items.set(key, item);
  }

  delete(key: string): void {
    if (this.#items.delete(key)) this.#keys = undefined;
  }

  values(): IterableIterator<T> {
    return this.#items.values();
  }

  /** `pageSize` 0 means the default. A larger one than allowed is reduced. */
  page(pageSize: number, pageToken: string): Page<T> {
    this.#keys ??= [...this.#items.keys()].sort();
    const size = Math.min(pageSize === 0 ? limits.defaultPageSize : pageSize, limits.maxPageSize);
    const after = decodeToken(pageToken);
    const from = after === undefined ? 0 : firstAbove(this.#keys, after);
    const keys = this.#keys.slice(from, from + size);
    const hasMore = from + size < this.#keys.length;
    return {
      items: keys.map((key) => this.#items.get(key)!),
      nextPageToken: hasMore ? encodeToken(keys.at(-1)!) : '',
    };
  }
}

const tokenPrefix = 'v1.';

function encodeToken(key: string): string {
  return Buffer.from(tokenPrefix + key).toString('base64url');
}

function decodeToken(token: string): string | undefined {
  if (token === '') return undefined;
  // A longer token is not decoded.
  const text = token.length > limits.maxPageTokenLength ? '' : Buffer.from(token, 'base64url').toString();
  // Decoding ignores characters that are not base64url: a token is valid only if encoding it again gives the same
  // text.
  if (!text.startsWith(tokenPrefix) || Buffer.from(text).toString('base64url') !== token) {
    throw new SluiceError('INVALID_PAGE_TOKEN', 'the page token does not come from a list', {
      subject: 'pageToken',
    });
  }
  return text.slice(tokenPrefix.length);
}

function firstAbove(sorted: readonly string[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! <= key) low = middle + 1;
    else high = middle;
  }
  return low;
}
