import assert from 'node:assert/strict';
import type { SubscriptionPartitionInfo } from '../../src/broker/types.js';
import type { SubscriptionBook } from './books.js';
import type { World } from './world.js';

/** Checks what must be true: between two steps, of what the broker says; after a crash, of what is on the disk. */
export class Audit {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** Ends a step: waits until nothing is on its way to or from the disk, then checks. */
  async quiesce(): Promise<void> {
    await this.#world.host.storage.quiesce();
    this.#world.throwFailure();
    this.#world.books.checkDrops();
    this.#checkStatus();
    this.#checkConsumers();
  }

  /** Reads every log from the disk. */
  async checkLogs(): Promise<void> {
    const { books, host, producers } = this.#world;
    const storedIds = new Set<string>();
    for (const topic of books.topics.values()) {
      for (const partition of topic.entries.keys()) {
        const { firstOffset, entries } = await host.storage.readAll(topic.topicId, partition);
        topic.floors[partition] = Math.max(topic.floors[partition]!, firstOffset);
        books.checkLog(topic, partition, firstOffset, entries);
      }
    }
    books.collectIds(storedIds);
    for (const { answeredIds } of producers) {
      for (const id of answeredIds) assert.ok(storedIds.has(id), `${id} had its receipt, and is lost`);
    }
    books.checkDeadLetters();
  }

  #checkStatus(): void {
    const { books, host } = this.#world;
    for (const book of books.subscriptions.values()) {
      const { topic, name } = book.config;
      for (const info of host.broker.getSubscription(topic, name).partitions)
        this.#checkPartition(book, info);
      for (const consumer of host.broker.listConsumers(topic, name)) {
        const { consumerId, outstandingMessageCount, outstandingBytes } = consumer;
        const held = book.model.heldBy(consumerId);
        const bytes = held.reduce((sum, message) => sum + message.bytes, 0);
        assert.deepEqual(
          [outstandingMessageCount, outstandingBytes],
          [held.length, bytes],
          `held by ${consumerId}`,
        );
      }
    }
  }

  #checkPartition({ model, config }: SubscriptionBook, info: SubscriptionPartitionInfo): void {
    const { partition } = info;
    const messages = model.partitions[partition]!;
    assert.deepEqual(
      { ...info, sessionId: undefined },
      {
        partition,
        acknowledgedOffset: model.cursor(partition).acknowledgedOffset,
        backlogMessageCount: messages.filter(({ state }) => state !== 'settled').length,
        outstandingMessageCount: messages.filter(({ state }) => state === 'held').length,
        deadLetterCount: model.deadLetterCounts[partition],
        sessionId: undefined,
      },
      `partition ${partition} of ${config.name}`,
    );
  }

  /** What a consumer knows from its stream is what the books say. */
  #checkConsumers(): void {
    for (const { name, book, held, isClosed } of this.#world.consumers) {
      if (isClosed) continue;
      const places = book.model.heldBy(name).map(({ partition, offset }) => `${partition}/${offset}`);
      assert.deepEqual([...held].sort(), places.sort(), `${name} has not been told what it holds`);
    }
  }
}
