import { SluiceError } from './errors.js';
import { secondMs } from './units.js';

/** The errors that several layers report. Their text stands here once. */

/** The broker drains: it takes nothing new. */
export function draining(): SluiceError {
  const text = 'the broker is shutting down: try again, possibly with another broker';
  return new SluiceError('DRAINING', text, { retryAfterMs: secondMs });
}

export function requestTooLarge(byteLength: number, maxBytes: number): SluiceError {
  const text = `the request takes ${byteLength} bytes, and this method takes at most ${maxBytes}: send smaller requests`;
  return new SluiceError('REQUEST_TOO_LARGE', text);
}
