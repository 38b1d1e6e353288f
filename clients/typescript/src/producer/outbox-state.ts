import type { ByteStream } from '../calls.js';
import type { SluiceError } from '../errors.js';
import type { Batch } from './batch.js';

/** The states of the stream of a producer. */
export type OutboxState =
  /** Batches are sent over the stream. */
  | { readonly kind: 'streaming'; readonly stream: ByteStream }
  /** No batch is sent: the stream broke, or a batch was refused. */
  | { readonly kind: 'recovering' }
  /** The producer has ended. */
  | { readonly kind: 'over'; readonly error: SluiceError };

/** One recovery, over all of its attempts. */
export interface Recovery {
  readonly oldest: Batch | undefined;
  /** The error that refused the oldest batch finally. */
  readonly refused: SluiceError | undefined;
  /** The same for each attempt: an attempt whose answer was lost must not claim a second epoch. */
  claimId: bigint | undefined;
}

/** Events of an outbox, for its producer. */
export interface OutboxEvents {
  /** The batch has its result, and takes no room any more. */
  answered(batch: Batch): void;
  /** `hasSlot` is true again. */
  slotFree(): void;
  /** The producer has ended: no batch is sent any more. */
  over(error: SluiceError): void;
}
