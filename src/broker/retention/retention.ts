import type { Clock } from '../../base/clock.js';
import { endOnDefect } from '../../base/invariant.js';
import { limits } from '../../base/limits.js';
import type { Logger } from '../../base/logger.js';
import type { Storage } from '../../storage/types.js';
import type { Alarm, Sleeper } from '../alarm.js';
import type { Topic } from '../topics/topic.js';

export interface RetentionServices {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly alarm: Alarm;
  readonly logger: Logger;
  readonly topics: { values(): Iterable<Topic> };
}

/**
 * Removes messages in the background: one sweep over the topics with a retention policy, then a pause. A message
 * is removed when it is past a limit and every subscription has settled it.
 */
export class Retention implements Sleeper {
  readonly #services: RetentionServices;
  #isStopped = false;

  constructor(services: RetentionServices) {
    this.#services = services;
  }

  wake(): void {
    void this.#sweep();
  }

  stop(): void {
    this.#isStopped = true;
  }

  async #sweep(): Promise<void> {
    const { topics, alarm, clock } = this.#services;
    for (const topic of [...topics.values()]) {
      if (!topic.isLimited) continue;
      for (let partition = 0; partition < topic.config.partitionCount; partition++) {
        if (this.#isStopped) return;
        await this.#trim(topic, partition);
      }
    }
    if (!this.#isStopped) alarm.set(this, clock.monotonicMs() + limits.retentionEveryMs);
  }

  async #trim(topic: Topic, partition: number): Promise<void> {
    const { storage, logger } = this.#services;
    try {
      // The topic may be deleted at any await.
      if (topic.isDeleted) return;
      const limitOffset = await this.#limitOffset(topic, partition);
      const floor = removableBelow(topic, partition, limitOffset);
      if (topic.isDeleted || floor <= storage.extent(topic.topicId, partition).firstOffset) return;
      // The cursors move first: no read begins below the new first offset.
      topic.raiseFloor(partition, floor);
      await storage.removeBelow(topic.topicId, partition, floor);
    } catch (error) {
      endOnDefect(error);
      if (topic.isDeleted || this.#isStopped) return;
      // The messages stay, and the next sweep tries again.
      logger.error({ error, topic: topic.name, partition }, 'retention could not remove messages');
    }
  }

  /** Everything below this offset is past the limit of age or of bytes. */
  async #limitOffset(topic: Topic, partition: number): Promise<number> {
    const { storage, clock } = this.#services;
    const { topicId } = topic;
    const { maxAgeMs, maxBytes } = topic.config.retention;
    const { firstOffset, endOffset, bytes } = storage.extent(topicId, partition);
    let offset = firstOffset;
    if (firstOffset === endOffset) return offset;
    if (maxAgeMs > 0) {
      offset = Math.max(offset, await storage.offsetAt(topicId, partition, clock.wallMs() - maxAgeMs));
    }
    if (maxBytes > 0 && bytes > maxBytes && !topic.isDeleted) {
      offset = Math.max(offset, await storage.offsetOfNewest(topicId, partition, maxBytes));
    }
    return offset;
  }
}

/**
 * Everything below this offset may be removed. With hard limits, that includes messages that are not settled;
 * otherwise every subscription must have settled them. `untilAcknowledged` is not a limit: it never removes
 * messages that are not settled.
 */
function removableBelow(topic: Topic, partition: number, limitOffset: number): number {
  const { untilAcknowledged, dropUnacknowledged } = topic.config.retention;
  const settled = settledFloor(topic, partition);
  const limited = dropUnacknowledged ? limitOffset : Math.min(limitOffset, settled);
  return untilAcknowledged && topic.subscriptions.size > 0 ? Math.max(limited, settled) : limited;
}

/** Every subscription has settled everything below this offset; Infinity without subscriptions. */
function settledFloor(topic: Topic, partition: number): number {
  let floor = Number.POSITIVE_INFINITY;
  for (const subscription of topic.subscriptions.values()) {
    floor = Math.min(floor, subscription.acknowledgedOffset(partition));
  }
  return floor;
}
