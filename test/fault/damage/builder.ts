import { create, type MessageInitShape, toJsonString } from '@bufbuild/protobuf';
import type { SluiceClient } from '@sluice/client';
import {
  type MessageRun,
  MessageSchema,
  type Subscription,
  SubscriptionSchema,
  type Topic,
  TopicSchema,
} from '@sluice/client/api';
import { ack, type Delivered, deadLetter, nack, TestConsumer, toDuration } from '../../support/consumer.js';
import {
  type Acknowledged,
  digestOf,
  nothingAcknowledged,
  partitionOf,
  type StoredMessage,
  settle,
  subscriptionOf,
} from './acknowledged.js';

export type MessageInit = MessageInitShape<typeof MessageSchema>;

/** A topic as the list keeps it: what the broker answered, without statistics. */
export function topicConfig(topic: Topic): string {
  return toJsonString(TopicSchema, create(TopicSchema, { ...topic, partitions: [] }));
}

export function subscriptionConfig(subscription: Subscription): string {
  return toJsonString(SubscriptionSchema, create(SubscriptionSchema, { ...subscription, partitions: [] }));
}

/** Does something to a broker and notes it in the list once the broker has answered. */
export class Builder {
  /** The broker's present life. */
  client!: SluiceClient;
  readonly acknowledged: Acknowledged;

  constructor(acknowledged: Acknowledged = nothingAcknowledged()) {
    this.acknowledged = acknowledged;
  }

  async createTopic(topic: MessageInitShape<typeof TopicSchema>): Promise<void> {
    const { topic: made } = await this.client.admin.createTopic({ topic });
    this.#noteTopic(made!);
  }

  async growTopic(name: string, partitionCount: number): Promise<void> {
    const { topic } = await this.client.admin.updateTopic({
      topic: { name, partitionCount },
      updateMask: { paths: ['partition_count'] },
    });
    this.#noteTopic(topic!);
  }

  async deleteTopic(name: string): Promise<void> {
    await this.client.admin.deleteTopic({ name });
    const { topics, subscriptions, producers } = this.acknowledged;
    topics.delete(name);
    for (const records of [subscriptions, producers]) {
      for (const [key, { topic }] of records) if (topic === name) records.delete(key);
    }
  }

  async createSubscription(
    subscription: MessageInitShape<typeof SubscriptionSchema> & { topic: string; name: string },
  ): Promise<void> {
    const { subscription: made } = await this.client.admin.createSubscription({ subscription });
    const { topic, name } = subscription;
    this.acknowledged.subscriptions.set(`${topic}/${name}`, {
      topic,
      name,
      config: subscriptionConfig(made!),
      standings: [],
      redrivable: 0,
    });
    this.#growStandings(topic);
  }

  async deleteSubscription(topic: string, name: string): Promise<void> {
    await this.client.admin.deleteSubscription({ topic, name });
    this.acknowledged.subscriptions.delete(`${topic}/${name}`);
  }

  /** Publishes one request. Without a partition the broker routes, and where each message went is read back. */
  async publish(
    topic: string,
    messages: readonly MessageInit[],
    options: { readonly partition?: number; readonly producer?: { id: string; epoch: number } } = {},
  ): Promise<void> {
    const { partition, producer } = options;
    const key = `${topic}/${producer?.id}`;
    const record = this.acknowledged.producers.get(key);
    const call = this.client.broker.publish();
    await call.write({
      topic,
      ...(partition !== undefined && { partition }),
      ...(producer !== undefined && {
        producer: {
          producerId: producer.id,
          epoch: BigInt(producer.epoch),
          firstSequence: BigInt((record?.lastSequence ?? 0) + 1),
        },
      }),
      messages: messages.map((message) => create(MessageSchema, message)),
    });
    call.end();
    const { messageCount, duplicateCount, ranges } = await call.result;
    if (Number(messageCount) !== messages.length || duplicateCount !== 0n) {
      throw new Error(`${messageCount} of ${messages.length} messages were taken`);
    }
    if (record !== undefined) record.lastSequence += messages.length;

    const sent = messages.map((message) => storedMessage(message, producer?.id ?? ''));
    for (const range of ranges) {
      const first = Number(range.firstOffset);
      const count = Number(range.lastOffset) - first + 1;
      const stored =
        partition !== undefined
          ? sent.splice(0, count)
          : takeSent(sent, await this.#read(topic, range.partition, first, count));
      this.#noteMessages(topic, range.partition, first, stored);
    }
    if (sent.length > 0) throw new Error(`${sent.length} messages have no place`);
  }

  /** Claims a producer's name. */
  async openProducer(topic: string, producerId: string): Promise<{ id: string; epoch: number }> {
    const { epoch, lastSequence } = await this.client.broker.openProducer({ topic, producerId });
    const record = { topic, producerId, epoch: Number(epoch), lastSequence: Number(lastSequence) };
    this.acknowledged.producers.set(`${topic}/${producerId}`, record);
    return { id: producerId, epoch: record.epoch };
  }

  /** Acknowledges what `choose` picks of the next `count` deliveries, and leaves the rest. */
  async acknowledge(
    key: string,
    count: number,
    choose: (message: Delivered) => boolean = () => true,
  ): Promise<void> {
    await this.#consume(key, async (consumer) => {
      const chosen = (await consumer.take(count)).filter(choose);
      await consumer.settle(chosen, ack);
      for (const { partition, offset } of chosen) settle(this.acknowledged, key, partition, offset);
    });
  }

  /** Fails the chosen ones of the next `count` deliveries once. The subscription's order must be NONE. */
  async fail(key: string, count: number, choose: (message: Delivered) => boolean): Promise<void> {
    await this.#consume(key, async (consumer) => {
      const chosen = (await consumer.take(count)).filter(choose);
      await consumer.settle(chosen, nack(1));
      const { standings } = subscriptionOf(this.acknowledged, key);
      for (const { partition, offset } of chosen) {
        const { failed } = standings[partition]!;
        failed.set(offset, (failed.get(offset) ?? 0) + 1);
      }
      // They come again; leaving frees them without another failure.
      await consumer.take(chosen.length);
    });
  }

  /** Dead-letters the chosen ones of the next `count` deliveries, and notes the new dead letters. */
  async deadLetter(key: string, count: number, choose: (message: Delivered) => boolean): Promise<void> {
    const record = subscriptionOf(this.acknowledged, key);
    await this.#consume(key, async (consumer) => {
      const chosen = (await consumer.take(count)).filter(choose);
      await consumer.settle(chosen, deadLetter('cannot be processed'));
      for (const { partition, offset, attempt } of chosen) {
        settle(this.acknowledged, key, partition, offset);
        record.standings[partition]!.deadLettered.set(offset, attempt);
      }
      record.redrivable += chosen.length;
      await this.#noteGrowth(`${record.topic}.${record.name}.dead-letter`, chosen.length);
    });
  }

  /** Sends dead letters back, and notes the messages that this made. */
  async redrive(key: string, limit: number): Promise<void> {
    const record = subscriptionOf(this.acknowledged, key);
    const { topic, name: subscription } = record;
    let redriven = 0;
    const call = this.client.admin.redriveDeadLetters({ topic, subscription, limit: BigInt(limit) });
    for await (const { redrivenCount } of call) redriven = Number(redrivenCount);
    if (redriven !== limit) throw new Error(`${redriven} of ${limit} dead letters were sent back`);
    record.redrivable -= redriven;
    await this.#noteGrowth(topic, redriven, subscription);
  }

  /** Moves a subscription back: what lies at or above the offset is due again. */
  async seek(key: string, partition: number, offset: number): Promise<void> {
    const { topic, name, standings } = subscriptionOf(this.acknowledged, key);
    await this.client.admin.seekSubscription({
      topic,
      name,
      partition,
      position: { position: { case: 'offset', value: BigInt(offset) } },
    });
    const { settled, failed } = standings[partition]!;
    for (let below = 0; below < offset; below++) settled.add(below);
    for (const each of [...settled]) if (each >= offset) settled.delete(each);
    failed.clear();
  }

  /** Retention works in the background: waits until it has removed everything below. */
  async untilRemoved(topic: string, partition: number, below: number): Promise<void> {
    const record = partitionOf(this.acknowledged, topic, partition);
    while (record.firstOffset < below) {
      const { topic: found } = await this.client.admin.getTopic({ name: topic });
      record.firstOffset = Number(found!.partitions[partition]!.firstOffset);
    }
    for (const offset of [...record.messages.keys()]) {
      if (offset < record.firstOffset) record.messages.delete(offset);
    }
  }

  async #consume(key: string, work: (consumer: TestConsumer) => Promise<void>): Promise<void> {
    const { topic, name } = subscriptionOf(this.acknowledged, key);
    const consumer = await TestConsumer.open(this.client, {
      topic,
      subscription: name,
      maxMessages: 100_000,
      maxBytes: 1_000_000_000,
    });
    await work(consumer);
    await consumer.leave();
  }

  /** Notes what the broker itself has appended to a topic: dead letters, redriven messages. */
  async #noteGrowth(name: string, count: number, target?: string): Promise<void> {
    const { topic } = await this.client.admin.getTopic({ name });
    if (!this.acknowledged.topics.has(name)) this.#noteTopic(topic!);
    let noted = 0;
    for (const { partition, nextOffset } of topic!.partitions) {
      const record = partitionOf(this.acknowledged, name, partition);
      for (let offset = record.nextOffset; offset < Number(nextOffset); offset++) {
        const place = { topic: name, partition, offset: BigInt(offset) };
        const { run } = await this.client.admin.getMessage(place);
        this.#noteMessages(name, partition, offset, storedOf(run!, target));
        noted += 1;
      }
    }
    if (noted !== count) throw new Error(`${name} has grown by ${noted}, not by ${count}`);
  }

  async #read(topic: string, partition: number, first: number, count: number): Promise<StoredMessage[]> {
    const start = { position: { case: 'offset' as const, value: BigInt(first) } };
    const limit = BigInt(count);
    const stored: StoredMessage[] = [];
    for await (const { runs } of this.client.broker.read({ topic, partition, start, limit })) {
      for (const run of runs) stored.push(...storedOf(run));
    }
    if (stored.length !== count) throw new Error(`${stored.length} of ${count} messages could be read back`);
    return stored;
  }

  #noteMessages(topic: string, partition: number, first: number, stored: readonly StoredMessage[]): void {
    const record = partitionOf(this.acknowledged, topic, partition);
    if (first !== record.nextOffset) throw new Error(`${topic}: offset ${first}, not ${record.nextOffset}`);
    for (const message of stored) record.messages.set(record.nextOffset++, message);
  }

  #noteTopic(topic: Topic): void {
    const { topics } = this.acknowledged;
    const partitions = topics.get(topic.name)?.partitions ?? [];
    while (partitions.length < topic.partitionCount) {
      partitions.push({ firstOffset: 0, nextOffset: 0, messages: new Map() });
    }
    topics.set(topic.name, { name: topic.name, config: topicConfig(topic), partitions });
    this.#growStandings(topic.name);
  }

  #growStandings(name: string): void {
    const partitions = this.acknowledged.topics.get(name)?.partitions ?? [];
    for (const { topic, standings } of this.acknowledged.subscriptions.values()) {
      if (topic !== name) continue;
      while (standings.length < partitions.length) {
        standings.push({ settled: new Set(), failed: new Map(), deadLettered: new Map() });
      }
    }
  }
}

function storedMessage(message: MessageInit, producerId: string, target?: string): StoredMessage {
  const full = create(MessageSchema, message);
  return {
    digest: digestOf(full, producerId),
    byteLength: full.payload.length + full.key.length,
    ...(target !== undefined && { target }),
  };
}

function storedOf({ messages, producerId }: MessageRun, target?: string): StoredMessage[] {
  return messages.map((message) => storedMessage(message, producerId, target));
}

/** What came back must be among what was sent, each once. */
function takeSent(sent: StoredMessage[], found: readonly StoredMessage[]): StoredMessage[] {
  for (const { digest } of found) {
    const index = sent.findIndex((message) => message.digest === digest);
    if (index < 0) throw new Error('a message came back with other bytes than it was sent with');
    sent.splice(index, 1);
  }
  return [...found];
}

export const short = toDuration(1);
