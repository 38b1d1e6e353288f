import { SluiceError } from '../../base/errors.js';
import { limits } from '../../base/limits.js';
import type { Durability } from '../../base/model.js';
import type { ProducerState, Storage } from '../../storage/types.js';
import { commit, storageFailed } from '../committer.js';
import { type Topic, topicDeleted } from '../topics/topic.js';
import type { ClaimOptions, ProducerPlace } from '../types.js';
import type { ProducerEntry, ProducerTable } from './producer-table.js';
import { producerFenced } from './sequence-refusal.js';

/** If a loss of power undid the claim, the fenced process could continue. */
export const claimDurability: Durability = 'synced';

/**
 * Claims a producer: gives the caller an epoch of its own, and fences all lower ones. The epoch is assigned at
 * once, so that two calls in one turn of the event loop get different epochs. The answer waits until the claim is
 * durable. Batches of the previous epoch that were submitted earlier count in `lastSequence`, and are durable by
 * then.
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

/** Claims nothing. Throws PRODUCER_NOT_FOUND. */
export async function findProducer(
  storage: Storage,
  producers: ProducerTable,
  topic: Topic,
  producerId: string,
): Promise<ProducerPlace> {
  const { state } = await producers.load(topic.topicId, producerId);
  if (state === undefined) {
    throw new SluiceError('PRODUCER_NOT_FOUND', `topic "${topic.name}" has no producer "${producerId}"`, {
      metadata: { topic: topic.name, producerId },
    });
  }
  // The state in memory runs ahead of the disk: the answer waits until it is durable.
  await commit(storage, { durability: topic.durability });
  return state;
}

function nextState(producerId: string, state: ProducerState | undefined, claimId: number): ProducerState {
  const { epoch = 0, lastSequence = 0 } = state ?? {};
  // A request may contain any epoch, and older brokers stored the highest one.
  if (epoch >= limits.maxOffset) {
    throw new SluiceError(
      'PRODUCER_FENCED',
      `epoch ${epoch} of producer "${producerId}" is the highest there is: take another producer id`,
      { metadata: { epoch: String(epoch) } },
    );
  }
  return { epoch: epoch + 1, lastSequence, baseSequence: lastSequence, claimId };
}

/**
 * Resolves when the claim is durable. A repeated claim is written again, because the first one may not be durable
 * yet.
 */
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
      changes: [{ kind: 'producer', topicId: topic.topicId, producerId, ...state }],
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
