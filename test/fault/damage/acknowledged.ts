import { createHash } from 'node:crypto';
import type { Message } from '@sluice/client/api';

/**
 * The independent list: everything that the broker acknowledged to the builder of a store, kept apart from the
 * broker's own code. The judge holds what a damaged store serves against it.
 */

/** One stored message. */
export interface StoredMessage {
  readonly digest: string;
  readonly byteLength: number;
  /** The one subscription that a redriven message is for. Undefined: for all of them. */
  readonly target?: string;
}

export interface PartitionRecord {
  /** Retention removed everything below. */
  firstOffset: number;
  nextOffset: number;
  readonly messages: Map<number, StoredMessage>;
}

export interface TopicRecord {
  readonly name: string;
  /** The answer of the call that made or changed the topic, without statistics. */
  config: string;
  readonly partitions: PartitionRecord[];
}

/** Where a subscription stands in one partition. */
export interface Standing {
  /** Acknowledged or dead-lettered: never delivered again. */
  readonly settled: Set<number>;
  /** Failed attempts of messages that are not settled. */
  readonly failed: Map<number, number>;
  /** Failed attempts of messages that were dead-lettered. */
  readonly deadLettered: Map<number, number>;
}

export interface SubscriptionRecord {
  readonly topic: string;
  readonly name: string;
  config: string;
  readonly standings: Standing[];
  /** Dead letters that a redrive would send back. */
  redrivable: number;
}

export interface ProducerRecord {
  readonly topic: string;
  readonly producerId: string;
  epoch: number;
  lastSequence: number;
}

export interface Acknowledged {
  readonly topics: Map<string, TopicRecord>;
  /** By `topic/name`. */
  readonly subscriptions: Map<string, SubscriptionRecord>;
  /** By `topic/producer id`. */
  readonly producers: Map<string, ProducerRecord>;
}

export function nothingAcknowledged(): Acknowledged {
  return { topics: new Map(), subscriptions: new Map(), producers: new Map() };
}

export function partitionOf({ topics }: Acknowledged, topic: string, partition: number): PartitionRecord {
  const record = topics.get(topic)?.partitions[partition];
  if (record === undefined) throw new Error(`the list has no partition ${partition} of ${topic}`);
  return record;
}

export function subscriptionOf({ subscriptions }: Acknowledged, key: string): SubscriptionRecord {
  const record = subscriptions.get(key);
  if (record === undefined) throw new Error(`the list has no subscription ${key}`);
  return record;
}

/** Marks offsets as settled. Cumulative ranges may reach over offsets that are settled already. */
export function settle(
  acknowledged: Acknowledged,
  key: string,
  partition: number,
  first: number,
  last = first,
): void {
  const { settled, failed } = subscriptionOf(acknowledged, key).standings[partition]!;
  for (let offset = first; offset <= last; offset++) {
    settled.add(offset);
    failed.delete(offset);
  }
}

/** What a subscription still has to get, ascending. */
export function pendingOffsets(acknowledged: Acknowledged, key: string, partition: number): number[] {
  const { name } = subscriptionOf(acknowledged, key);
  return unsettledOffsets(acknowledged, key, partition, (target) => target === undefined || target === name);
}

/** Messages for another subscription: they count as backlog until the subscription has passed them. */
export function passedOverOffsets(acknowledged: Acknowledged, key: string, partition: number): number[] {
  const { name } = subscriptionOf(acknowledged, key);
  return unsettledOffsets(acknowledged, key, partition, (target) => target !== undefined && target !== name);
}

function unsettledOffsets(
  acknowledged: Acknowledged,
  key: string,
  partition: number,
  isMeant: (target: string | undefined) => boolean,
): number[] {
  const { topic, standings } = subscriptionOf(acknowledged, key);
  const { messages, firstOffset } = partitionOf(acknowledged, topic, partition);
  const { settled } = standings[partition]!;
  return [...messages]
    .filter(([offset, { target }]) => offset >= firstOffset && !settled.has(offset) && isMeant(target))
    .map(([offset]) => offset)
    .sort((a, b) => a - b);
}

/** A name for the content of a message: equal only where every byte that a producer gave is equal. */
export function digestOf(message: Pick<Message, 'key' | 'payload' | 'headers'>, producerId: string): string {
  const hash = createHash('sha256');
  const headers = Object.entries(message.headers).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const part of [producerId, message.key, message.payload, ...headers.flat()]) {
    const bytes = Buffer.from(part);
    hash.update(`${bytes.length}:`).update(bytes);
  }
  return hash.digest('hex').slice(0, 24);
}

/** A deep copy, for a list that is altered on purpose. */
export function copyOf(acknowledged: Acknowledged): Acknowledged {
  return structuredClone(acknowledged);
}
