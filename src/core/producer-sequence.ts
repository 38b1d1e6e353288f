import { SluiceError } from '../base/errors.js';
import { limits } from '../base/limits.js';

/** How far an idempotent producer has come in one topic. */
export interface ProducerPosition {
  readonly epoch: number;
  /** 0 before its first message. */
  readonly lastSequence: number;
  /** The last sequence of the epochs before: what this epoch numbers begins behind it. */
  readonly baseSequence: number;
  /** Of the call that claimed the epoch: kept with it, so that a repetition of the call is known as one. */
  readonly claimId?: number;
}

/** Messages `firstSequence`, `firstSequence + 1`, ... of a producer. */
export interface SequencedBatch {
  readonly epoch: number;
  /** Not looked at where there are no messages. */
  readonly firstSequence: number;
  readonly count: number;
}

export type SequenceDecision =
  /** The first `skip` messages had been stored before; the others are to be stored together with `next`. */
  | { readonly kind: 'accept'; readonly skip: number; readonly next: ProducerPosition }
  /** Numbers were skipped: `expectedSequence` is what has to come next. */
  | { readonly kind: 'gap'; readonly expectedSequence: number }
  /** Earlier epochs used these numbers, so they may belong to other messages: `expectedSequence` has to come next. */
  | { readonly kind: 'reused'; readonly expectedSequence: number }
  /** The producer of `epoch`, which is higher, has taken over. */
  | { readonly kind: 'fenced'; readonly epoch: number };

/**
 * Decides what becomes of a batch of a producer that stands at `position` (undefined: never seen). A producer
 * numbers its messages from 1 for as long as it lives: a higher epoch fences lower ones, and goes on counting. A
 * number counts as stored before only if the same epoch sent it: two processes may take the same number for different
 * messages. Throws INVALID_FIELD where the numbers are no sequence.
 */
export function decideSequence(
  position: ProducerPosition | undefined,
  batch: SequencedBatch,
): SequenceDecision {
  const { epoch, firstSequence, count } = batch;
  if (count === 0) return decideClaim(position, epoch);
  if (firstSequence < 1 || firstSequence > limits.maxOffset - count + 1) {
    throw new SluiceError(
      'INVALID_FIELD',
      `sequence ${firstSequence} with ${count} messages: sequences begin at 1 and end at ${limits.maxOffset}`,
      { field: 'producer.first_sequence' },
    );
  }
  const claim = decideClaim(position, epoch);
  if (claim.kind !== 'accept') return claim;
  const known = claim.next;
  const expectedSequence = known.lastSequence + 1;
  if (firstSequence > expectedSequence) return { kind: 'gap', expectedSequence };
  if (firstSequence <= known.baseSequence) return { kind: 'reused', expectedSequence };
  const lastSequence = Math.max(known.lastSequence, firstSequence + count - 1);
  return {
    kind: 'accept',
    skip: Math.min(count, expectedSequence - firstSequence),
    next: { ...known, lastSequence },
  };
}

/** Where the producer stands once this epoch has claimed it: no message is looked at. */
function decideClaim(position: ProducerPosition | undefined, epoch: number): SequenceDecision {
  const known = position ?? { epoch, lastSequence: 0, baseSequence: 0 };
  if (epoch < known.epoch) return { kind: 'fenced', epoch: known.epoch };
  if (epoch === known.epoch) return { kind: 'accept', skip: 0, next: known };
  const { lastSequence } = known;
  return { kind: 'accept', skip: 0, next: { epoch, lastSequence, baseSequence: lastSequence } };
}
