import { SluiceError } from '../base/errors.js';
import { limits } from '../base/limits.js';

/** How far an idempotent producer has come in one topic. */
export interface ProducerPosition {
  readonly epoch: number;
  /** 0 before its first message. */
  readonly lastSequence: number;
}

/** Messages `firstSequence`, `firstSequence + 1`, ... of a producer. */
export interface SequencedBatch {
  readonly epoch: number;
  readonly firstSequence: number;
  readonly count: number;
}

export type SequenceDecision =
  /** The first `skip` messages had been stored before; the others are to be stored together with `next`. */
  | { readonly kind: 'accept'; readonly skip: number; readonly next: ProducerPosition }
  /** Numbers were skipped: `expectedSequence` is what has to come next. */
  | { readonly kind: 'gap'; readonly expectedSequence: number }
  /** The producer of `epoch`, which is higher, has taken over. */
  | { readonly kind: 'fenced'; readonly epoch: number };

/**
 * Decides what becomes of a batch of a producer that stands at `position` (undefined: never seen). A producer
 * numbers its messages from 1 for as long as it lives: a higher epoch fences lower ones, and goes on counting.
 * Throws INVALID_FIELD where the numbers are no sequence.
 */
export function decideSequence(
  position: ProducerPosition | undefined,
  batch: SequencedBatch,
): SequenceDecision {
  const { epoch, firstSequence, count } = batch;
  if (firstSequence < 1 || firstSequence > limits.maxOffset - count + 1) {
    throw new SluiceError(
      'INVALID_FIELD',
      `sequence ${firstSequence} with ${count} messages: sequences begin at 1 and end at ${limits.maxOffset}`,
      { field: 'producer.first_sequence' },
    );
  }
  const known = position ?? { epoch, lastSequence: 0 };
  if (epoch < known.epoch) return { kind: 'fenced', epoch: known.epoch };
  const expectedSequence = known.lastSequence + 1;
  if (firstSequence > expectedSequence) return { kind: 'gap', expectedSequence };
  const lastSequence = firstSequence + count - 1;
  return {
    kind: 'accept',
    skip: Math.min(count, expectedSequence - firstSequence),
    next: { epoch, lastSequence: Math.max(known.lastSequence, lastSequence) },
  };
}
