import type { SluiceClient } from '@sluice/client';
import type { BacklogLimit_WhenFull } from '@sluice/client/api';

export interface LimitedTopic {
  readonly name: string;
  readonly maxMessages: number;
  readonly whenFull: BacklogLimit_WhenFull;
  /** Default: the broker's. */
  readonly partitionCount?: number;
}

/** A topic with a backlog limit, and the subscription that is behind. */
export async function createLimitedTopic(client: SluiceClient, topic: LimitedTopic, subscription: string) {
  const { name, maxMessages, whenFull, partitionCount = 0 } = topic;
  const backlogLimit = { maxMessages: BigInt(maxMessages), whenFull };
  await client.admin.createTopic({ topic: { name, partitionCount, backlogLimit } });
  await client.admin.createSubscription({ subscription: { topic: name, name: subscription } });
}

/** Messages that a topic holds. */
export async function storedCount(client: SluiceClient, name: string): Promise<number> {
  const { topic } = await client.admin.getTopic({ name });
  const counts = (topic?.partitions ?? []).map(({ firstOffset, nextOffset }) => nextOffset - firstOffset);
  return counts.reduce((sum, count) => sum + Number(count), 0);
}
