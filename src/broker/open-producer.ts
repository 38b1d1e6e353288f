import { SluiceError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Durability } from '../base/model.js';
import type { ProducerState, Storage } from '../storage/types.js';
import { storageFailed } from './committer.js';
import type { ProducerEntry, ProducerTable } from './producer-table.js';
import { producerFenced } from './sequence-refusal.js';
import { type Topic, topicDeleted } from './topic.js';

/** Where a producer stands: its epoch, and the number of its last message. */
export interface ProducerPlace {
  readonly epoch: number;
  readonly lastSequence: number;
}

export interface ClaimOptions {
  /** A repeated call with the same number, not 0, gets the same epoch. */
  readonly claimId: number;
  /** Claims only while this is the producer's epoch. */
  readonly currentEpoch: number | undefined;
}

/** A claim that a loss of power undoes would let the fenced process go on. */
export const claimDurability: Durability = 'synced';

/**
 * Claims a producer: gives the caller an epoch of its own, and fences every lower one. The epoch is taken at
 * once, so that two calls in one turn get different ones; the answer comes when it is durable. Batches of the epoch
 * before that were submitted earlier are counted in `lastSequence`, and are durable by then, too.
 */
export function openProducer(
  storage: Storage,
  producers: ProducerTable,
  topic: Topic,
  producerId: string,
  options: ClaimOptions,
): Promise<ProducerPlace> {
  return producers.loadFor(topic.topicId, producerId, (entry) => {
    if (topic.isDeleted) throw topicDeleted(topic.name);
    const { state } = entry;
    const { claimId, currentEpoch } = options;
    if (claimId !== 0 && state?.claimId === claimId) {
      return submitClaim(storage, topic, producerId, entry, state);
    }
    if (currentEpoch !== undefined && currentEpoch !== state?.epoch) {
      throw producerFenced(producerId, currentEpoch, state?.epoch);
    }
    return submitClaim(storage, topic, producerId, entry, nextState(producerId, state, claimId));
  });
}

function nextState(producerId: string, state: ProducerState | undefined, claimId: number): ProducerState {
  const { epoch = 0, lastSequence = 0 } = state ?? {};
  // Requests may bring any epoch, and older brokers have stored the highest one.
  if (epoch >= limits.maxOffset) {
    throw new SluiceError(
      'PRODUCER_FENCED',
      `epoch ${epoch} of producer "${producerId}" is the highest there is: take another producer id`,
      { metadata: { epoch: String(epoch) } },
    );
  }
  return { epoch: epoch + 1, lastSequence, baseSequence: lastSequence, claimId };
}

/** Resolves when the claim is durable. A repeated one is written again: the first may not be durable yet. */
function submitClaim(
  storage: Storage,
  topic: Topic,
  producerId: string,
  entry: ProducerEntry,
  state: ProducerState,
): Promise<ProducerPlace> {
  return new Promise((resolve, reject) => {
    storage.submit({
      durability: claimDurability,
      producers: [{ topicId: topic.topicId, producerId, ...state }],
      onCommitted: () => {
        entry.pendingCount--;
        resolve({ epoch: state.epoch, lastSequence: state.lastSequence });
      },
      onFailed: (error) => reject(storageFailed(error)),
    });
    entry.pendingCount++;
    entry.state = state;
  });
}
