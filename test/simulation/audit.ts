import assert from 'node:assert/strict';
import type { SubscriptionPartitionInfo } from '../../src/broker/types.js';
import type { ReferenceSubscription } from './reference-model.js';
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
    this.#world.reference.checkDrops();
    this.#checkStatus();
    this.#checkConsumers();
  }

  /** Reads every log from the disk. */
  async checkLogs(): Promise<void> {
    const { reference, host, producers } = this.#world;
    const storedIds = new Set<string>();
    for (const topic of reference.topics.values()) {
      for (const partition of topic.entries.keys()) {
        const { firstOffset, entries } = await host.storage.readAll(topic.topicId, partition);
        topic.floors[partition] = Math.max(topic.floors[partition]!, firstOffset);
        reference.checkLog(topic, partition, firstOffset, entries);
      }
    }
    reference.collectIds(storedIds);
    for (const { answeredIds } of producers) {
      for (const id of answeredIds) assert.ok(storedIds.has(id), `${id} had its receipt, and is lost`);
    }
    reference.checkDeadLetters();
  }

  #checkStatus(): void {
    const { reference, host } = this.#world;
    for (const subscription of reference.subscriptions.values()) {
      const { topic, name } = subscription.config;
      for (const info of host.broker.getSubscription(topic, name).partitions)
        this.#checkPartition(subscription, info);
      for (const consumer of host.broker.listConsumers(topic, name)) {
        const { consumerId, outstandingMessageCount, outstandingBytes } = consumer;
        const held = subscription.model.heldBy(consumerId);
        const bytes = held.reduce((sum, message) => sum + message.bytes, 0);
        assert.deepEqual(
          [outstandingMessageCount, outstandingBytes],
          [held.length, bytes],
          `held by ${consumerId}`,
        );
      }
    }
  }

  #checkPartition({ model, config }: ReferenceSubscription, info: SubscriptionPartitionInfo): void {
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

  /** What a consumer knows from its stream is what the reference model says. */
  #checkConsumers(): void {
    for (const { name, subscription, held, isClosed } of this.#world.consumers) {
      if (isClosed) continue;
      const places = subscription.model.heldBy(name).map(({ partition, offset }) => `${partition}/${offset}`);
      assert.deepEqual([...held].sort(), places.sort(), `${name} has not been told what it holds`);
    }
  }
}
