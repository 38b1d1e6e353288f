import { SluiceError } from '../../base/errors.js';
import type { ProducerPosition, SequenceDecision } from '../../core/producer-sequence.js';
import type { ProducerSequence } from '../types.js';

/** The error for a batch that the producer's sequence does not accept. */
export function sequenceRefusal(
  { kind }: Exclude<SequenceDecision, { kind: 'accept' }>,
  { producerId, epoch, firstSequence }: ProducerSequence,
  state: ProducerPosition | undefined,
): SluiceError {
  if (kind === 'fenced') return producerFenced(producerId, epoch, state?.epoch);
  const last = state?.lastSequence ?? 0;
  const metadata = { lastSequence: String(last) };
  return kind === 'gap'
    ? new SluiceError(
        'SEQUENCE_GAP',
        `producer "${producerId}" sent sequence ${firstSequence}, but ${last + 1} comes next: resume there`,
        { metadata },
      )
    : new SluiceError(
        'SEQUENCE_REUSED',
        `producer "${producerId}" sent sequence ${firstSequence}, which an earlier epoch used: ${last + 1} comes next`,
        { metadata },
      );
}

export function producerFenced(
  producerId: string,
  epoch: number,
  currentEpoch: number | undefined,
): SluiceError {
  return new SluiceError(
    'PRODUCER_FENCED',
    `epoch ${epoch} of producer "${producerId}" is over: another process claimed it with epoch ${currentEpoch ?? 'none'}`,
    { metadata: { epoch: String(currentEpoch ?? 0) } },
  );
}
