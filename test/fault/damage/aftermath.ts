import type { SluiceClient } from '@sluice/client';
import { type Acknowledged, copyOf, pendingOffsets, settle } from './acknowledged.js';
import { answerTo } from './audit.js';
import { Builder } from './builder.js';
import type { Drained } from './observation.js';

/**
 * Goes on with a damaged store that was drained: publishes to every partition, and as a producer. Answers the list
 * of what is acknowledged by then; undefined where a loss is in the way.
 */
export async function goOn(
  client: SluiceClient,
  acknowledged: Acknowledged,
  drained: readonly Drained[],
): Promise<Acknowledged | undefined> {
  if (drained.some(({ failure }) => failure !== undefined)) return undefined;
  const builder = new Builder(copyOf(acknowledged));
  builder.client = client;
  for (const [key, { standings }] of builder.acknowledged.subscriptions) {
    for (const partition of standings.keys()) {
      // What is lost was passed over, so it is settled as well.
      for (const offset of pendingOffsets(builder.acknowledged, key, partition)) {
        settle(builder.acknowledged, key, partition, offset);
      }
    }
  }
  const answer = await answerTo(() => publishMore(builder));
  if (answer.kind === 'failed') throw new Error(`publishing to the damaged store failed: ${answer.text}`);
  return answer.kind === 'said' ? builder.acknowledged : undefined;
}

async function publishMore(builder: Builder): Promise<void> {
  for (const { name, config, partitions } of builder.acknowledged.topics.values()) {
    if (config.includes('untilAcknowledged')) await builder.untilRemoved(name, 0, partitions[0]!.nextOffset);
    for (const partition of partitions.keys()) {
      const payload = Buffer.from(`behind the damage of ${name}/${partition}`);
      await builder.publish(name, [{ payload }], { partition });
    }
  }
  const producer = await builder.openProducer('orders', 'p1');
  await builder.publish('orders', [{ payload: Buffer.from('as p1') }], { partition: 0, producer });
}
