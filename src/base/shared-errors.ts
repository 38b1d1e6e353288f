import { SluiceError } from './errors.js';
import { secondMs } from './units.js';

/** The errors that several layers report. Their text stands here once. */

/** The broker drains: it takes nothing new. */
export function draining(): SluiceError {
  const text = 'the broker is shutting down: try again, possibly with another broker';
  return new SluiceError('DRAINING', text, { retryAfterMs: secondMs });
}

/** A stream publishes without having named a topic. */
export function topicNotNamed(): SluiceError {
  const text = 'the first request of a stream must name its topic';
  return new SluiceError('INVALID_FIELD', text, { subject: 'topic' });
}

/** The session has ended, or there was none. */
export function sessionNotFound(sessionId: string): SluiceError {
  const text = `there is no session "${sessionId}": it ended, and its messages are delivered again`;
  return new SluiceError('SESSION_NOT_FOUND', text, { metadata: { sessionId } });
}

export function requestTooLarge(byteLength: number, maxBytes: number): SluiceError {
  const text = `the request takes ${byteLength} bytes, and this method takes at most ${maxBytes}: send smaller requests`;
  return new SluiceError('REQUEST_TOO_LARGE', text);
}
