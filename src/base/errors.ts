import { endOnDefect } from './invariant.js';
import { type Reason, reasons, type StatusCode } from './reasons.js';

/**
 * What is at fault, in the terms of the broker. The API layer knows which field of a request that is. An object is a part
 * of the settlement with this index.
 */
export type ErrorSubject =
  | 'topic'
  | 'partition'
  | 'partitionCount'
  | 'retentionAge'
  | 'retentionBytes'
  | 'backlogBytes'
  | 'backlogMessages'
  | 'ackDeadline'
  | 'backoff'
  | 'minBackoff'
  | 'maxBackoff'
  | 'maxAttempts'
  | 'deadLetterTopic'
  | 'consumerId'
  | 'position'
  | 'limit'
  | 'redriveRate'
  | 'creditMessages'
  | 'creditBytes'
  | 'epoch'
  | 'firstSequence'
  | 'pageToken'
  | { readonly settlement: number; readonly part: SettlementPart };

export type SettlementPart =
  | 'partition'
  | 'offsets'
  | 'extension'
  | 'delay'
  | 'nackReason'
  | 'deadLetterReason';

export interface ErrorDetails {
  /** Set by the broker and the layers below it. */
  readonly subject?: ErrorSubject;
  /** The request field at fault, as a path: `settlements[2].offsets`. */
  readonly field?: string;
  /** How long to wait before trying again. */
  readonly retryAfterMs?: number;
  /** Facts for programs: become `ErrorInfo.metadata`. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** The only error class. Its message says what is wrong and what to do about it. */
export class SluiceError extends Error {
  override readonly name = 'SluiceError';
  readonly reason: Reason;
  readonly details: ErrorDetails;

  constructor(reason: Reason, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.reason = reason;
    this.details = details;
  }

  get code(): StatusCode {
    return reasons[this.reason];
  }

  /**
   * Converts anything that was thrown into a SluiceError. An error from outside (the disk, the network) becomes
   * INTERNAL. A defect of the broker's own code ends the process instead.
   */
  static from(thrown: unknown): SluiceError {
    if (thrown instanceof SluiceError) return thrown;
    endOnDefect(thrown);
    const text = thrown instanceof Error ? thrown.message : String(thrown);
    return new SluiceError('INTERNAL', `internal error: ${text}`, { cause: thrown });
  }
}
