import assert from 'node:assert/strict';
import type { StartPosition } from '../../src/base/model.js';
import type { PartitionInfo } from '../../src/broker/types.js';
import { storeOptions } from './held-storage.js';
import { ProducerName } from './producer.js';
import type { Producing } from './producing.js';
import { Redrive } from './redrive.js';
import { Seek } from './seek.js';
import type { World } from './world.js';

const mostSubscriptions = 5;

/** Creates, changes and deletes topics and subscriptions; seeks, and sends dead letters back. */
export class Administration {
  readonly #world: World;
  readonly #producing: Producing;

  constructor(world: World, producing: Producing) {
    this.#world = world;
    this.#producing = producing;
  }

  // --- Topics -------------------------------------------------------------------------------------------------

  /** With the processes that produce for it, and a subscription. */
  createTopic(name: string): void {
    const { chance, draws, host } = this.#world;
    const config = draws.topicConfig(name);
    this.#world.expectCommitted(`creation of ${name}`, host.broker.createTopic(config));
    const mayBeRefused = config.backlogLimit.whenFull === 'reject';
    const ids = mayBeRefused ? [''] : ['', 'till-1', 'till-2'];
    for (const id of ids.slice(0, 1 + chance.below(ids.length))) {
      this.#producing.addProducer(new ProducerName(id, name), mayBeRefused);
    }
    this.#createSubscription(name);
  }

  /** Deletes a topic that is in use, and creates another topic with the same name. */
  replaceTopic(): void {
    const world = this.#world;
    const name = world.chance.pick([...new Set(world.topicNames)]);
    if (name === undefined) return;
    const { reference } = world;
    const { topicId } = reference.topic(name);
    if (reference.subscriptions.get(world.seek?.subscriptionId ?? 0)?.topicId === topicId) return;
    world.count('topicDeletion');
    world.trace(`  ${name}`);
    const deleted = world.producers.filter(({ topic }) => topic === name);
    world.producers = world.producers.filter(({ topic }) => topic !== name);
    for (const producer of deleted) producer.topicDeleted();
    world.orphans.push(...deleted);
    world.deletionCount += 1;
    world.expectCommitted(`deletion of ${name}`, world.host.broker.deleteTopic(name));
    world.consumers = world.consumers.filter(({ subscriptionId }) =>
      reference.subscriptions.has(subscriptionId),
    );
    this.createTopic(name);
  }

  growTopic(): void {
    const { chance, host, topicNames } = this.#world;
    const name = chance.pick(topicNames)!;
    const partitionCount = host.broker.getTopic(name).partitions.length + 1;
    if (partitionCount > storeOptions.maxPartitionCount) return;
    this.#world.trace(`  ${name} to ${partitionCount}`);
    this.#world.expectCommitted(`growth of ${name}`, host.broker.updateTopic(name, { partitionCount }));
  }

  // --- Subscriptions ------------------------------------------------------------------------------------------

  createSubscription(): void {
    this.#createSubscription(this.#world.chance.pick(this.#world.topicNames)!);
  }

  #createSubscription(topic: string): void {
    const { chance, draws, host, subscriptionIds } = this.#world;
    if (subscriptionIds.length >= mostSubscriptions) return;
    const name = `s${this.#world.nextNumber()}`;
    const config = draws.subscriptionConfig(topic, name, this.#world.hasMorgue);
    const start: StartPosition = { kind: chance.pick(['earliest', 'earliest', 'latest']) };
    this.#world.trace(
      `  ${topic}/${name} by ${config.ordering} from ${start.kind}: ${JSON.stringify(config)}`,
    );
    this.#world.expect(`creation of ${name}`, host.broker.createSubscription(config, start));
  }

  deleteSubscription(): void {
    const world = this.#world;
    const id = world.chance.pick(world.subscriptionIds);
    if (id === undefined || world.seek?.subscriptionId === id) return;
    const { topic, name } = world.reference.subscriptions.get(id)!.config;
    world.trace(`  ${topic}/${name}`);
    world.expectCommitted(`deletion of ${name}`, world.host.broker.deleteSubscription(topic, name));
    world.consumers = world.consumers.filter(({ subscriptionId }) => subscriptionId !== id);
  }

  changePolicy(): void {
    const { draws, hasMorgue, host } = this.#world;
    const subscription = this.#world.anySubscription();
    if (subscription === undefined) return;
    const { topic, name } = subscription.config;
    const config = draws.subscriptionConfig(topic, name, hasMorgue);
    const { ackDeadlineMs, minBackoffMs, maxBackoffMs, deadLetter } = config;
    const change = { ackDeadlineMs, minBackoffMs, maxBackoffMs, deadLetter };
    this.#world.trace(`  ${topic}/${name}: ${JSON.stringify(change)}`);
    this.#world.expectCommitted(`update of ${name}`, host.broker.updateSubscription(topic, name, change));
  }

  // --- Dead letters -------------------------------------------------------------------------------------------

  /** Mostly of a subscription that has dead letters. */
  redrive(): void {
    const { reference, chance, draws, host, subscriptionIds } = this.#world;
    const having = subscriptionIds.filter((id) => reference.hasDeadLetters(id));
    const subscriptionId = chance.pick(having.length > 0 && !chance.oneIn(5) ? having : subscriptionIds);
    if (subscriptionId === undefined) return;
    const draw = draws.redrive();
    const { topic, name } = reference.subscriptions.get(subscriptionId)!.config;
    this.#world.trace(`  ${topic}/${name}: ${JSON.stringify(draw)}`);
    const redrive = new Redrive(subscriptionId, draw, this.#world);
    this.#world.redrives.push(redrive);
    redrive.start(host.broker);
  }

  // --- Seeks --------------------------------------------------------------------------------------------------

  beginSeek(): void {
    const world = this.#world;
    const subscriptionId = world.chance.pick(world.subscriptionIds);
    if (subscriptionId === undefined || world.seek !== undefined) return;
    const { topic, name } = world.reference.subscriptions.get(subscriptionId)!.config;
    const { partitions } = world.host.broker.getTopic(topic);
    const partition = world.chance.oneIn(2) ? undefined : world.chance.below(partitions.length);
    const position = this.#drawPosition(partitions[partition ?? 0]!, partition !== undefined);
    world.trace(`  ${topic}/${name}/${partition ?? '*'} to ${JSON.stringify(position)}`);
    const sought = partition === undefined ? partitions : [partitions[partition]!];
    const seek = new Seek(subscriptionId, position, sought);
    world.seek = seek;
    const seeking = world.host.broker.seekSubscription(topic, name, partition, position);
    world.expect(`seek of ${name}`, seeking, () => {
      assert.notEqual(world.seek, seek, 'a seek was answered that has not happened');
    });
  }

  /** An offset belongs to one partition: a seek of all partitions gets none. */
  #drawPosition({ firstOffset, nextOffset }: PartitionInfo, isOfOnePartition: boolean): StartPosition {
    const { chance, host } = this.#world;
    const kind = chance.pick([
      'earliest',
      'latest',
      'time',
      isOfOnePartition ? 'offset' : 'earliest',
    ] as const);
    switch (kind) {
      case 'offset':
        return { kind, offset: firstOffset + chance.below(nextOffset - firstOffset + 1) };
      case 'time':
        // Only a seek looks up half a millisecond: this tells its lookups from others.
        return { kind, timeMs: host.clock.wallMs() - chance.below(5_000) - 0.5 };
      default:
        return { kind };
    }
  }
}
