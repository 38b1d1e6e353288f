import { type SluiceError, StatusCode } from '../errors.js';

/** What went wrong: with one batch, or with the stream (or a call) as a whole. */
export interface Failure {
  readonly error: SluiceError;
  readonly isOfBatch: boolean;
}

/** Codes of errors that trying again may mend. */
const retriable = new Set<number>([
  StatusCode.UNAVAILABLE,
  StatusCode.RESOURCE_EXHAUSTED,
  StatusCode.ABORTED,
]);

/** What the library says of a stream that broke. */
const broken = new Set<number>([
  StatusCode.CANCELLED,
  StatusCode.UNKNOWN,
  StatusCode.INTERNAL,
  StatusCode.DEADLINE_EXCEEDED,
]);

/** Reasons after which nothing of this producer can be stored any more. */
const finalReasons = new Set(['PRODUCER_FENCED', 'TOPIC_DELETED', 'AUTO_CREATE_DISABLED', 'CLIENT_CLOSED']);
const finalCodes = new Set<number>([StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED]);

/** What libraries and proxies say, with no reason of the broker's, of a request that is too large to be read. */
export function isUnreadable({ error, isOfBatch }: Failure): boolean {
  return !isOfBatch && error.code === StatusCode.RESOURCE_EXHAUSTED && error.reason === 'RESOURCE_EXHAUSTED';
}

export function isRetriable({ error, isOfBatch }: Failure): boolean {
  return retriable.has(error.code) || (!isOfBatch && broken.has(error.code));
}

/** The producer is over. */
export function isFinal({ code, reason }: SluiceError): boolean {
  return finalReasons.has(reason) || finalCodes.has(code);
}
