import { SluiceError, StatusCode } from '../errors.js';

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
const finalReasons = new Set([
  'PRODUCER_FENCED',
  'SEQUENCE_REUSED',
  'TOPIC_DELETED',
  'AUTO_CREATE_DISABLED',
  'CLIENT_CLOSED',
]);
const finalCodes = new Set<number>([StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED]);

/** Not the broker's word: a proxy that limits the rate, or a library that finds a request too large. */
export function isBareExhaustion({ error, isOfBatch }: Failure): boolean {
  return !isOfBatch && error.code === StatusCode.RESOURCE_EXHAUSTED && error.reason === 'RESOURCE_EXHAUSTED';
}

export function isRetriable({ error, isOfBatch }: Failure): boolean {
  return isOfBatch ? retriable.has(error.code) : isPassing(error);
}

/** A call or a stream that may go better the next time. */
export function isPassing({ code }: SluiceError): boolean {
  return retriable.has(code) || broken.has(code);
}

/** The producer is over. */
export function isFinal({ code, reason }: SluiceError): boolean {
  return finalReasons.has(reason) || finalCodes.has(code);
}

/** Another process has claimed the name. */
export function fenced(producerId: string, epoch: bigint, currentEpoch: bigint): SluiceError {
  const text = `epoch ${epoch} of producer "${producerId}" is over: another process claimed it with epoch ${currentEpoch}`;
  const metadata = { epoch: String(currentEpoch) };
  return new SluiceError(text, {
    code: StatusCode.FAILED_PRECONDITION,
    reason: 'PRODUCER_FENCED',
    metadata,
  });
}

/** The time of a message is over. */
export function notInTime(retryTimeoutMs: number | undefined, cause: SluiceError | undefined): SluiceError {
  const text = `not stored within ${retryTimeoutMs} ms`;
  return new SluiceError(cause === undefined ? text : `${text}: ${cause.message}`, {
    code: StatusCode.DEADLINE_EXCEEDED,
    reason: 'RETRY_TIMEOUT',
    cause,
  });
}

export function streamEnded(): SluiceError {
  const text = 'the broker has ended the stream';
  return new SluiceError(text, { code: StatusCode.UNAVAILABLE, reason: 'UNAVAILABLE' });
}

export function unknownBatch(): SluiceError {
  const text = 'an answer to no batch that is under way';
  return new SluiceError(text, { code: StatusCode.INTERNAL, reason: 'INTERNAL' });
}
