import assert from 'node:assert/strict';
import type { SubscriptionConfig } from '../../src/base/model.js';
import type { CursorState } from '../../src/base/positions.js';
import type { DeliveryPolicy } from '../../src/core/types.js';
import { deadLetterHeaders } from '../../src/envelope/dead-letter-origin.js';
import type {
  Append,
  CatalogSubscription,
  CatalogTopic,
  CursorUpdate,
  DeadLetterNote,
  RedriveUpdate,
  Transaction,
} from '../../src/storage/types.js';
import { changesOfKind } from '../support/changes.js';
import { Reference } from '../unit/core/model/reference.js';
import { decodeEntry, splitEntries } from './messages.js';

export interface ReferenceTopic {
  readonly topicId: number;
  readonly name: string;
  /** What was submitted, by partition and offset: between two steps, what is on the disk. */
  readonly entries: Buffer[][];
  /** Beside them: the only subscription that a message is for, 0 for every one. */
  readonly targets: number[][];
  /** How much of it the broker knows to be committed. */
  readonly ends: number[];
  /** What retention has removed, or is about to. */
  readonly floors: number[];
  /** Its limits are hard: retention removes what is not settled. */
  dropsUnacknowledged: boolean;
}

/** Messages that a cursor passed over without having settled them: a removal has to follow in the same step. */
interface Drop {
  readonly topicId: number;
  readonly partition: number;
  readonly lastOffset: number;
}

export interface ReferenceSubscription {
  readonly topicId: number;
  config: SubscriptionConfig;
  readonly model: Reference;
}

/** One message in the dead-letter topic of a subscription that gave it up. */
interface DeadLetter {
  readonly subscriptionId: number;
  readonly topicId: number;
  readonly partition: number;
  readonly offset: number;
  readonly source: string;
}

/** What is on the disk and what becomes of it, by the reference. Kept from what the broker submits. */
export class ReferenceModel {
  readonly topics = new Map<number, ReferenceTopic>();
  readonly subscriptions = new Map<number, ReferenceSubscription>();
  #deadLetters: DeadLetter[] = [];
  #drops: Drop[] = [];
  /** How far dead letters have been sent back: `subscription/topic/partition` of the dead letters. */
  readonly #redriven = new Map<string, number>();
  readonly #chance: number;
  readonly #dropped: () => void;

  constructor(chance: number, dropped: () => void) {
    this.#chance = chance;
    this.#dropped = dropped;
  }

  /** To come back to after a crash. */
  clone(): ReferenceModel {
    const copy = new ReferenceModel(this.#chance, this.#dropped);
    for (const [id, topic] of this.topics) {
      copy.topics.set(id, {
        ...topic,
        entries: topic.entries.map((messages) => [...messages]),
        targets: topic.targets.map((targets) => [...targets]),
        ends: [...topic.ends],
        // What was about to be removed when the broker crashed may be there again: the disk says so.
        floors: topic.floors.map(() => 0),
      });
    }
    for (const [id, subscription] of this.subscriptions) {
      copy.subscriptions.set(id, { ...subscription, model: subscription.model.clone() });
    }
    copy.#deadLetters = [...this.#deadLetters];
    for (const [place, offset] of this.#redriven) copy.#redriven.set(place, offset);
    return copy;
  }

  topic(name: string): ReferenceTopic {
    const found = [...this.topics.values()].find((topic) => topic.name === name);
    assert.ok(found !== undefined, `no topic "${name}"`);
    return found;
  }

  /** Its catalog, messages and dead letters; cursors are compared by `checkCursors`. */
  submitted(transaction: Transaction, firstOffsets: readonly number[]): void {
    const { changes } = transaction;
    const redrives = changesOfKind(changes, 'redrive');
    const appends = changesOfKind(changes, 'append');
    const deadLetters = changesOfKind(changes, 'dead-letter');
    const cursors = changesOfKind(changes, 'cursor');
    for (const topic of changesOfKind(changes, 'topic')) this.#putTopic(topic);
    for (const each of changesOfKind(changes, 'subscription')) this.#putSubscription(each, cursors);
    for (const each of changesOfKind(changes, 'delete-subscription'))
      this.subscriptions.delete(each.subscriptionId);
    for (const { topicId } of changesOfKind(changes, 'delete-topic')) this.#deleteTopic(topicId);
    for (const redrive of redrives) this.#checkRedrive(redrive, appends);
    for (const [i, append] of appends.entries()) {
      const isTargeted = (append.targetSubscriptionId ?? 0) !== 0;
      assert.equal(isTargeted, redrives.length > 0, 'only a redrive is for one subscription');
      this.#append(append, firstOffsets[i]!);
    }
    if (deadLetters.length > 0) this.#noteDeadLetters(deadLetters, appends, firstOffsets);
  }

  #append(
    { topicId, partition, chunks, count, targetSubscriptionId = 0 }: Append,
    firstOffset: number,
  ): void {
    const topic = this.topics.get(topicId)!;
    const entries = topic.entries[partition]!;
    assert.equal(firstOffset, entries.length, `offsets of topic ${topicId}/${partition} are not dense`);
    const added = splitEntries(chunks);
    assert.equal(added.length, count, 'an append is not what it says');
    entries.push(...added);
    topic.targets[partition]!.push(...added.map(() => targetSubscriptionId));
  }

  /** Each note belongs to a message that its subscription gave up, and to an append of the same commit. */
  #noteDeadLetters(
    notes: readonly DeadLetterNote[],
    appends: readonly Append[],
    firstOffsets: readonly number[],
  ): void {
    /** Where the dead letters of this commit are, by what they were. */
    const placeBySource = new Map<string, Omit<DeadLetter, 'source' | 'subscriptionId'>>();
    for (const [i, { topicId, partition, chunks }] of appends.entries()) {
      for (const [at, entry] of splitEntries(chunks).entries()) {
        placeBySource.set(sourceOf(entry), { topicId, partition, offset: firstOffsets[i]! + at });
      }
    }
    for (const note of notes) {
      const { model, config, topicId } = this.subscriptions.get(note.subscriptionId)!;
      const message = model.partitions[note.partition]![note.offset]!;
      const name = `${note.partition}/${note.offset} of ${config.name}`;
      assert.ok(
        message.deadLetterAttempts > 0,
        `${name} is dead-lettered, but the subscription did not give it up`,
      );
      assert.equal(note.attempts, message.deadLetterAttempts, `${name} is dead-lettered with other attempts`);
      model.deadLettered(note.partition, note.offset);
      const source = `${this.topics.get(topicId)!.name}/${config.name}/${note.partition}/${note.offset}`;
      const where = placeBySource.get(source);
      assert.ok(where !== undefined, `${name} is noted as dead-lettered, and not in the same commit`);
      placeBySource.delete(source);
      this.#deadLetters.push({ ...where, subscriptionId: note.subscriptionId, source });
    }
  }

  committed({ changes }: Transaction, firstOffsets: readonly number[]): void {
    for (const [i, { topicId, partition, count }] of changesOfKind(changes, 'append').entries()) {
      this.#show(topicId, partition, firstOffsets[i]! + count);
    }
  }

  checkCursors(subscriptionId: number, partition: number, cursor: CursorState): void {
    const { model, config } = this.subscriptions.get(subscriptionId)!;
    // What is for another subscription is settled when it is read, which may be at any time.
    for (const message of model.partitions[partition]!) {
      if (message.isTargetedElsewhere && message.state !== 'settled' && isSettled(cursor, message.offset)) {
        model.passOver(message);
      }
    }
    this.#noteDrop(subscriptionId, partition, cursor);
    const what = `cursor ${partition} of ${config.name}`;
    assert.deepEqual(cursor, model.cursor(partition), what);
  }

  /** What is sent back is what the subscription itself dead-lettered, in order, each once. */
  #checkRedrive(redrive: RedriveUpdate, appends: readonly Append[]): void {
    const { subscriptionId, deadLetterTopicId, partition, offset } = redrive;
    const place = `${subscriptionId}/${deadLetterTopicId}/${partition}`;
    const from = this.#redriven.get(place) ?? 0;
    assert.ok(offset > from, `a redrive of ${place} goes back from ${from} to ${offset}`);
    this.#redriven.set(place, offset);
    const { entries, floors } = this.topics.get(deadLetterTopicId)!;
    const sent = appends.flatMap(({ chunks }) => splitEntries(chunks).map(String));
    for (const { targetSubscriptionId } of appends) assert.equal(targetSubscriptionId, subscriptionId);
    const expected = this.deadLettersOf(subscriptionId, deadLetterTopicId)
      .filter(
        (deadLetter) =>
          deadLetter.partition === partition && deadLetter.offset >= from && deadLetter.offset < offset,
      )
      .toSorted((a, b) => a.offset - b.offset)
      // What retention removed meanwhile may be there or not.
      .filter(
        (deadLetter) => deadLetter.offset >= floors[partition]! || sent.includes(String(entryAt(deadLetter))),
      )
      .map((deadLetter) => String(entryAt(deadLetter)));
    assert.deepEqual(sent.toSorted(), expected.toSorted(), `what a redrive of ${place} sends back`);

    function entryAt(deadLetter: DeadLetter): Buffer {
      return entries[deadLetter.partition]![deadLetter.offset]!;
    }
  }

  deadLettersOf(subscriptionId: number, deadLetterTopicId: number): DeadLetter[] {
    return this.#deadLetters.filter(
      (deadLetter) =>
        deadLetter.subscriptionId === subscriptionId && deadLetter.topicId === deadLetterTopicId,
    );
  }

  /** That have not been sent back. */
  hasDeadLetters(subscriptionId: number): boolean {
    return this.#deadLetters.some(
      (deadLetter) => deadLetter.subscriptionId === subscriptionId && !this.isRedriven(deadLetter),
    );
  }

  isRedriven({ subscriptionId, topicId, partition, offset }: DeadLetter): boolean {
    return offset < (this.#redriven.get(`${subscriptionId}/${topicId}/${partition}`) ?? 0);
  }

  /** Where limits are hard, a cursor may pass over what is not settled, if retention removes that next. */
  #noteDrop(subscriptionId: number, partition: number, { acknowledgedOffset }: CursorState): void {
    const { model, topicId } = this.subscriptions.get(subscriptionId)!;
    if (!this.topics.get(topicId)!.dropsUnacknowledged) return;
    const dropped = model.partitions[partition]!.filter(
      ({ offset, state }) => offset < acknowledgedOffset && state !== 'settled',
    );
    const lastOffset = dropped.at(-1)?.offset;
    if (lastOffset === undefined) return;
    this.#dropped();
    this.#drops.push({ topicId, partition, lastOffset });
    model.dropBelow(partition, lastOffset + 1);
  }

  /** What cursors have passed over is removed by now. */
  checkDrops(): void {
    assert.deepEqual(this.#drops, [], 'messages were passed over, and neither settled nor removed');
  }

  /** What survived is on the disk, and visible. */
  restart(): void {
    for (const { topicId, entries } of this.topics.values()) {
      for (const [partition, { length }] of entries.entries()) this.#show(topicId, partition, length);
    }
    for (const { model } of this.subscriptions.values()) model.restart();
  }

  /** Nothing is removed that a subscription still has to deliver. */
  checkRemoval(topicId: number, partition: number, offset: number): void {
    this.topics.get(topicId)!.floors[partition] = offset;
    this.#drops = this.#drops.filter(
      (drop) => drop.topicId !== topicId || drop.partition !== partition || drop.lastOffset >= offset,
    );
    for (const { topicId: id, model, config } of this.subscriptions.values()) {
      if (id !== topicId) continue;
      const needed = model.partitions[partition]!.find((m) => m.offset < offset && m.state !== 'settled');
      assert.equal(
        needed,
        undefined,
        `${partition}/${needed?.offset} is removed before ${config.name} settled it`,
      );
    }
  }

  /** What the disk holds of a partition is what was submitted to it. */
  checkLog(topic: ReferenceTopic, partition: number, firstOffset: number, entries: readonly Buffer[]): void {
    const expected = topic.entries[partition]!;
    const name = `${topic.name}/${partition}`;
    assert.equal(firstOffset + entries.length, expected.length, `${name}: messages on the disk`);
    for (const [i, entry] of entries.entries()) {
      assert.ok(entry.equals(expected[firstOffset + i]!), `${name}: message ${firstOffset + i} has changed`);
    }
  }

  /** The ids of what was published, each stored once. */
  collectIds(ids: Set<string>): void {
    for (const { entries } of this.topics.values()) {
      for (const entry of entries.flat()) {
        const { id, headers } = decodeEntry(entry);
        if ('sluice-dead-letter-topic' in headers) continue;
        assert.ok(!ids.has(id), `${id} is stored twice`);
        ids.add(id);
      }
    }
  }

  /** Each dead-letter note has one message, and each dead letter has a note. */
  checkDeadLetters(): void {
    const expected = new Map<string, string>();
    for (const { topicId, partition, offset, source } of this.#deadLetters) {
      expected.set(`${topicId}/${partition}/${offset}`, source);
    }
    assert.equal(expected.size, this.#deadLetters.length, 'two dead letters in one place');
    for (const { topicId, entries, targets } of this.topics.values()) {
      for (const [partition, messages] of entries.entries()) {
        for (const [offset, entry] of messages.entries()) {
          // What was sent back is a dead letter no longer, and keeps the headers.
          if (targets[partition]![offset] !== 0) continue;
          const { headers: h } = decodeEntry(entry);
          const source = expected.get(`${topicId}/${partition}/${offset}`);
          const topicName = h['sluice-dead-letter-topic'];
          const place = `${h['sluice-dead-letter-partition']}/${h['sluice-dead-letter-offset']}`;
          const found =
            topicName === undefined
              ? undefined
              : `${topicName}/${h['sluice-dead-letter-subscription']}/${place}`;
          assert.equal(found, source, `dead letter at ${topicId}/${partition}/${offset}`);
        }
      }
    }
  }

  /** With all that lies in it, dead letters of others included. */
  #deleteTopic(topicId: number): void {
    this.topics.delete(topicId);
    this.#deadLetters = this.#deadLetters.filter((deadLetter) => deadLetter.topicId !== topicId);
    this.#drops = this.#drops.filter((drop) => drop.topicId !== topicId);
  }

  #putTopic({ topicId, config }: CatalogTopic): void {
    let topic = this.topics.get(topicId);
    if (topic === undefined) {
      topic = {
        topicId,
        name: config.name,
        entries: [],
        targets: [],
        ends: [],
        floors: [],
        dropsUnacknowledged: config.retention.dropUnacknowledged,
      };
      this.topics.set(topicId, topic);
    }
    while (topic.entries.length < config.partitionCount) {
      topic.entries.push([]);
      topic.targets.push([]);
      topic.ends.push(0);
      topic.floors.push(0);
      for (const subscription of this.subscriptions.values())
        if (subscription.topicId === topicId) subscription.model.addPartition();
    }
  }

  #putSubscription(
    { subscriptionId, topicId, config }: CatalogSubscription,
    cursors: readonly CursorUpdate[],
  ): void {
    const existing = this.subscriptions.get(subscriptionId);
    if (existing !== undefined) {
      existing.config = config;
      existing.model.setPolicy(policyOf(config));
      return;
    }
    const model = new Reference(policyOf(config), this.#chance);
    const { entries, targets, ends, floors } = this.topics.get(topicId)!;
    for (const [partition, messages] of entries.entries()) {
      model.addPartition();
      for (const [i, entry] of messages.slice(0, ends[partition]).entries()) {
        append(model, partition, entry, targets[partition]![i] !== 0);
      }
      const start = cursors.find((cursor) => cursor.partition === partition)!.state().acknowledgedOffset;
      model.dropBelow(partition, Math.max(start, floors[partition]!));
    }
    this.subscriptions.set(subscriptionId, { topicId, config, model });
  }

  #show(topicId: number, partition: number, end: number): void {
    const topic = this.topics.get(topicId);
    // Deleted before it heard of the commit.
    if (topic === undefined) return;
    const { entries, targets, ends } = topic;
    const start = ends[partition]!;
    ends[partition] = Math.max(start, end);
    for (const [subscriptionId, subscription] of this.subscriptions) {
      if (subscription.topicId !== topicId) continue;
      for (let offset = start; offset < end; offset += 1) {
        const target = targets[partition]![offset]!;
        append(
          subscription.model,
          partition,
          entries[partition]![offset]!,
          target !== 0 && target !== subscriptionId,
        );
      }
    }
  }
}

export const keys = ['', 'anna', 'ben', 'cleo', 'dora'];

function append(model: Reference, partition: number, entry: Buffer, isTargetedElsewhere: boolean): void {
  model.append(partition, entry.length, keys.indexOf(decodeEntry(entry).key), isTargetedElsewhere);
}

function isSettled({ acknowledgedOffset, settled }: CursorState, offset: number): boolean {
  return offset < acknowledgedOffset || settled.some(({ first, last }) => first <= offset && offset <= last);
}

/** Complete: the simulation leaves nothing to defaults. */
export function policyOf(config: SubscriptionConfig): DeliveryPolicy {
  const { ordering, ackDeadlineMs, minBackoffMs, maxBackoffMs, deadLetter } = config;
  const maxAttempts = deadLetter.isDisabled ? Number.POSITIVE_INFINITY : deadLetter.maxAttempts;
  return { ordering, ackDeadlineMs, minBackoffMs, maxBackoffMs, maxAttempts };
}

/** What a dead letter says that it was. */
function sourceOf(entry: Buffer): string {
  const { headers } = decodeEntry(entry);
  const { topic, subscription, partition, offset } = deadLetterHeaders;
  return [topic, subscription, partition, offset].map((name) => headers[name]).join('/');
}
