import type { StartPosition, SubscriptionConfig } from '../../base/model.js';
import type { Storage } from '../../storage/types.js';
import { commit } from '../committer.js';
import { startOffsets } from '../topics/start-offsets.js';
import { type Topic, topicNotFound } from '../topics/topic.js';
import type { SubscriptionCatalog } from './subscription-catalog.js';
import { freshCursor, type SubscriptionRunner } from './subscription-runner.js';

/** The subscription of this name. Creates it, durably, if it does not exist. */
export async function addSubscription(
  storage: Storage,
  catalog: SubscriptionCatalog,
  topic: Topic,
  input: Omit<SubscriptionConfig, 'createTimeMs'>,
  start: StartPosition,
): Promise<{ runner: SubscriptionRunner; isNew: boolean }> {
  const offsets = await startOffsets(storage, topic, undefined, start);
  // Meanwhile the topic may have been deleted, or another call may have created the subscription.
  if (topic.isDeleted) throw topicNotFound(topic.name);
  const existing = catalog.find(topic, input.name);
  if (existing !== undefined) {
    await commit(storage, { durability: 'synced' });
    return { runner: existing, isNew: false };
  }
  const cursors = new Map([...offsets].map(([partition, offset]) => [partition, freshCursor(offset)]));
  const { runner, durable } = catalog.insert(topic, input, cursors);
  await durable;
  return { runner, isNew: true };
}

/** A subscription that a consumer creates by its name alone. */
export function defaultSubscription(topic: string, name: string): Omit<SubscriptionConfig, 'createTimeMs'> {
  return {
    topic,
    name,
    ordering: 'partition',
    ackDeadlineMs: 0,
    minBackoffMs: 0,
    maxBackoffMs: 0,
    deadLetter: { maxAttempts: 0, topic: '', isDisabled: false },
  };
}
