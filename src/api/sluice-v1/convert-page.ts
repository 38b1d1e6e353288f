import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';

/** A page size that is too large is reduced, as usual. Only the broker reads the token. */
export function toPage(request: { readonly pageSize: number; readonly pageToken: string }) {
  if (request.pageToken.length > limits.maxPageTokenLength) {
    throw new SluiceError('INVALID_PAGE_TOKEN', 'page_token: not a token of a list', {
      field: 'page_token',
    });
  }
  const pageSize = request.pageSize === 0 ? limits.defaultPageSize : request.pageSize;
  return { pageSize: Math.min(pageSize, limits.maxPageSize), pageToken: request.pageToken };
}
