import { SluiceError } from '../base/errors.js';
import { limits } from '../base/limits.js';
import type { Storage } from '../storage/types.js';
import { storageFailed } from './committer.js';
import type { ProducerEntry, ProducerTable } from './producer-table.js';
import { type Topic, topicDeleted } from './topic.js';

/** Where a producer stands: its epoch, and the number of its last message. */
export interface ProducerPlace {
  readonly epoch: number;
  readonly lastSequence: number;
}

/**
 * Claims a producer: gives the caller an epoch that nobody else has, and fences every lower one. The epoch is taken at
 * once, so that two calls in one turn get different ones; the answer comes when it is durable. Batches of the epoch
 * before that were submitted earlier are counted in `lastSequence`, and are durable by then, too.
 */
export function openProducer(
  storage: Storage,
  producers: ProducerTable,
  topic: Topic,
  producerId: string,
): Promise<ProducerPlace> {
  return producers.loadFor(topic.topicId, producerId, (entry) => claim(storage, topic, producerId, entry));
}

function claim(
  storage: Storage,
  topic: Topic,
  producerId: string,
  entry: ProducerEntry,
): Promise<ProducerPlace> {
  if (topic.isDeleted) throw topicDeleted(topic.name);
  const { epoch: lastEpoch = 0, lastSequence = 0 } = entry.state ?? {};
  if (lastEpoch >= limits.maxOffset) {
    throw new SluiceError('PRODUCER_FENCED', `the epochs of producer "${producerId}" are used up`);
  }
  const state = { epoch: lastEpoch + 1, lastSequence, baseSequence: lastSequence };
  return new Promise((resolve, reject) => {
    storage.submit({
      // A claim that a loss of power undoes would let the fenced process go on.
      durability: 'synced',
      producers: [{ topicId: topic.topicId, producerId, ...state }],
      onCommitted: () => {
        entry.pendingCount--;
        resolve({ epoch: state.epoch, lastSequence });
      },
      onFailed: (error) => reject(storageFailed(error)),
    });
    entry.pendingCount++;
    entry.state = state;
  });
}
