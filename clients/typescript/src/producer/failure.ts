import { SluiceError, StatusCode } from '../errors.js';

/** The failure of one batch, or of a whole stream or call. */
export interface Failure {
  readonly error: SluiceError;
  readonly isOfBatch: boolean;
}

/** Codes of errors that a retry may resolve. */
const retriable = new Set<number>([
  StatusCode.UNAVAILABLE,
  StatusCode.RESOURCE_EXHAUSTED,
  StatusCode.ABORTED,
]);

/** The error texts of the library for a broken stream. */
const broken = new Set<number>([
  StatusCode.CANCELLED,
  StatusCode.UNKNOWN,
  StatusCode.INTERNAL,
  StatusCode.DEADLINE_EXCEEDED,
]);

/** Reasons after which the broker stores no more messages of this producer. */
const finalReasons = new Set([
  'PRODUCER_FENCED',
  'SEQUENCE_REUSED',
  'TOPIC_DELETED',
  'AUTO_CREATE_DISABLED',
  'CLIENT_CLOSED',
]);
const finalCodes = new Set<number>([StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED]);

/** Not from the broker: a proxy limits the rate, or a library refuses a large request. */
export function isBareExhaustion({ error, isOfBatch }: Failure): boolean {
  return !isOfBatch && error.code === StatusCode.RESOURCE_EXHAUSTED && error.reason === 'RESOURCE_EXHAUSTED';
}

export function isRetriable({ error, isOfBatch }: Failure): boolean {
  return isOfBatch ? retriable.has(error.code) : isPassing(error);
}

/** Whether a retry of the call or stream may succeed. */
export function isPassing({ code }: SluiceError): boolean {
  return retriable.has(code) || broken.has(code);
}

/** Whether the error ends the producer. */
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

/** The error of a message whose `retryTimeoutMs` is over. */
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
