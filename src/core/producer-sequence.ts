import { SluiceError } from '../base/errors.js';
import { limits } from '../base/limits.js';

/** The position of an idempotent producer in one topic. */
export interface ProducerPosition {
  readonly epoch: number;
  /** 0 before the first message. */
  readonly lastSequence: number;
  /** The last sequence of earlier epochs. The sequences of this epoch begin behind it. */
  readonly baseSequence: number;
  /** From the call that claimed the epoch. Stored with it, so that a repetition of the call is recognized. */
  readonly claimId?: number;
}

/** Messages `firstSequence`, `firstSequence + 1`, … of a producer. */
export interface SequencedBatch {
  readonly epoch: number;
  /** Ignored without messages. */
  readonly firstSequence: number;
  readonly count: number;
}

export type SequenceDecision =
  /** The first `skip` messages are stored already. The others are to be stored together with `next`. */
  | { readonly kind: 'accept'; readonly skip: number; readonly next: ProducerPosition }
  /** Sequences were skipped: `expectedSequence` must come next. */
  | { readonly kind: 'gap'; readonly expectedSequence: number }
  /** Earlier epochs used these sequences, possibly for other messages: `expectedSequence` must come next. */
  | { readonly kind: 'reused'; readonly expectedSequence: number }
  /** The higher `epoch` has taken over. */
  | { readonly kind: 'fenced'; readonly epoch: number };

/**
 * Decides about a batch of a producer at `position` (undefined: unknown producer). A producer numbers its messages
 * from 1 for its whole life: a higher epoch fences lower ones, and continues the numbers. A sequence counts as a
 * duplicate only if the same epoch sent it: two processes may use the same sequence for different messages. Throws
 * INVALID_FIELD if the numbers are not a sequence.
 */
export function decideSequence(
  position: ProducerPosition | undefined,
  batch: SequencedBatch,
): SequenceDecision {
  const { epoch, firstSequence, count } = batch;
  if (!isNumberUpTo(epoch, limits.maxOffset)) {
    const text = `epoch ${epoch} is no whole number from 0 to ${limits.maxOffset}`;
    throw new SluiceError('INVALID_FIELD', text, { subject: 'epoch' });
  }
  if (count === 0) return decideClaim(position, epoch);
  if (firstSequence === 0 || !isNumberUpTo(firstSequence, limits.maxOffset - count + 1)) {
    throw new SluiceError(
      'INVALID_FIELD',
      `sequence ${firstSequence} with ${count} messages: sequences begin at 1 and end at ${limits.maxOffset}`,
      { subject: 'firstSequence' },
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

/** The position of the producer after this epoch has claimed it. Messages are not considered. */
function decideClaim(position: ProducerPosition | undefined, epoch: number): SequenceDecision {
  const known = position ?? { epoch, lastSequence: 0, baseSequence: 0 };
  if (epoch < known.epoch) return { kind: 'fenced', epoch: known.epoch };
  if (epoch === known.epoch) return { kind: 'accept', skip: 0, next: known };
  const { lastSequence } = known;
  return { kind: 'accept', skip: 0, next: { epoch, lastSequence, baseSequence: lastSequence } };
}

function isNumberUpTo(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max;
}
