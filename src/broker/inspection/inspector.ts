import { SluiceError } from '../../base/errors.js';
import type { Storage } from '../../storage/types.js';
import type { Counters } from '../counters.js';
import type { ConsumerLink } from '../delivery/consumer-link.js';
import type { SubscriptionCatalog } from '../delivery/subscription-catalog.js';
import type { SubscriptionRunner } from '../delivery/subscription-runner.js';
import type { FramePool } from '../frames/frame-pool.js';
import type { StreamPublisher } from '../publishing/publisher.js';
import { readMessage } from '../reading/read-message.js';
import { checkPartition, type Topic, topicNotFound } from '../topics/topic.js';
import type { TopicCatalog } from '../topics/topic-catalog.js';
import type {
  BrokerStats,
  ConsumerInfo,
  DeliveredRun,
  MessageInfo,
  ProducerInfo,
  TopicInfo,
} from '../types.js';

interface Parts {
  readonly storage: Storage;
  readonly topics: TopicCatalog;
  readonly subscriptions: SubscriptionCatalog;
  readonly publishers: ReadonlySet<StreamPublisher>;
  readonly counters: Counters;
  readonly frames: FramePool;
}

/**
 * Answers questions about the broker: its producers and consumers, what they hold or wait for, and the state of a
 * message. Changes nothing.
 */
export class Inspector {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  producers(topicName: string): ProducerInfo[] {
    const producers = Array.from(this.#parts.publishers, ({ info }) => info);
    return topicName === '' ? producers : producers.filter(({ topic }) => topic === topicName);
  }

  consumers(topicName: string, subscriptionName: string): ConsumerInfo[] {
    const consumers: ConsumerInfo[] = [];
    for (const runner of this.#parts.subscriptions.all.values()) {
      const { topic, name } = runner.config;
      if (topicName !== '' && topic !== topicName) continue;
      if (subscriptionName !== '' && name !== subscriptionName) continue;
      for (const link of runner.links) consumers.push(this.#consumerInfo(runner, link));
    }
    return consumers;
  }

  stats(): BrokerStats {
    const producers = Array.from(this.#parts.publishers, ({ info }) => info.hold);
    const consumers = [...this.#parts.subscriptions.all.values()].flatMap((runner) =>
      Array.from(runner.links, ({ wait }) => wait),
    );
    const { publishedMessages, publishedBytes, duplicateMessages, refusedBatches } = this.#parts.counters;
    const { deliveredMessages, deliveredBytes, settledMessages, deadLetteredMessages } = this.#parts.counters;
    return {
      publishedMessages,
      publishedBytes,
      duplicateMessages,
      refusedBatches,
      deliveredMessages,
      deliveredBytes,
      settledMessages,
      deadLetteredMessages,
      producersByHold: countByReason(producers),
      heldMs: this.#parts.counters.held.totals(producers),
      consumersByWait: countByReason(consumers),
      waitedMs: this.#parts.counters.waited.totals(consumers),
      frameBytes: this.#parts.frames.bytesUnderWay,
      ...this.#parts.storage.usage,
    };
  }

  async message(topicName: string, partition: number, offset: number): Promise<MessageInfo> {
    const topic = this.#parts.topics.get(topicName);
    const message = await this.#readKept(topic, partition, offset);
    const statuses = [];
    // The target of a redriven message is unknown once retention has removed it. The other subscriptions have
    // settled it too.
    const targetSubscriptionId = message?.run.targetSubscriptionId ?? 0;
    for (const runner of this.#parts.subscriptions.of(topic).values()) {
      if (targetSubscriptionId !== 0 && targetSubscriptionId !== runner.subscriptionId) continue;
      statuses.push(await this.#messageStatus(runner, partition, offset));
    }
    return { message, statuses };
  }

  /** Undefined if retention has removed the message. */
  async #readKept(topic: Topic, partition: number, offset: number): Promise<DeliveredRun | undefined> {
    const { storage } = this.#parts;
    checkPartition(topic.config, partition);
    const isRemoved = () => offset < topic.extent(partition).firstOffset;
    if (isRemoved()) return undefined;
    try {
      return await readMessage(storage, topic, partition, offset);
    } catch (thrown) {
      const error = SluiceError.from(thrown);
      if (topic.isDeleted) throw topicNotFound(topic.name);
      // Retention may remove the message before it is read.
      if (error.reason === 'OFFSET_OUT_OF_RANGE' && isRemoved()) return undefined;
      throw error;
    }
  }

  /** Throws TOPIC_NOT_FOUND if the topic was deleted after the caller had found it. */
  topicInfo(topic: Topic): TopicInfo {
    const partitions = [];
    for (let partition = 0; partition < topic.config.partitionCount; partition++) {
      const { endOffset, bytes } = topic.extent(partition);
      const firstOffset = topic.firstOffset(partition);
      partitions.push({ partition, firstOffset, nextOffset: endOffset, bytes });
    }
    return { config: topic.config, partitions };
  }

  #consumerInfo(runner: SubscriptionRunner, link: ConsumerLink): ConsumerInfo {
    const status = runner.sessionStatus(link.sessionId);
    const { topic, name } = runner.config;
    return {
      sessionId: link.sessionId,
      consumerId: link.options.consumerId,
      topic,
      subscription: name,
      peer: link.options.context.peer,
      connectTimeMs: link.connectTimeMs,
      credit: status?.credit ?? { messages: 0, bytes: 0 },
      outstandingMessageCount: status?.outstandingMessageCount ?? 0,
      outstandingBytes: status?.outstandingBytes ?? 0,
      partitions: status?.partitions ?? [],
      wait: link.wait,
    };
  }

  async #messageStatus(
    runner: SubscriptionRunner,
    partition: number,
    offset: number,
  ): Promise<MessageInfo['statuses'][number]> {
    const state = runner.messageState(partition, offset);
    const subscription = runner.config.name;
    if (state.kind !== 'done') {
      return {
        subscription,
        state: state.kind,
        failedAttempts: state.failedAttempts,
        sessionId: state.kind === 'processing' ? state.sessionId : undefined,
      };
    }
    const note = await this.#parts.storage.readDeadLetter(runner.subscriptionId, partition, offset);
    return {
      subscription,
      state: note === undefined ? 'done' : 'failed',
      failedAttempts: note?.attempts ?? 0,
      sessionId: undefined,
    };
  }
}

function countByReason<R extends string>(
  states: readonly ({ readonly reason: R } | undefined)[],
): Map<R | 'none', number> {
  const counts = new Map<R | 'none', number>();
  for (const state of states) {
    const reason = state?.reason ?? 'none';
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return counts;
}
