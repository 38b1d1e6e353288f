import assert from 'node:assert/strict';
import type { SluiceError } from '../../src/base/errors.js';
import type { Broker, PublishBatch, Publisher, Receipt } from '../../src/broker/types.js';
import { contextOf } from '../support/call-context.js';
import { type Draft, decodeEntry, encodeBatch } from './messages.js';
import type { ReferenceModel } from './reference-model.js';

interface Batch {
  readonly drafts: readonly Draft[];
  readonly partition: number | undefined;
  /** Undefined for an anonymous producer, and for a named one until the batch is sent for the first time. */
  firstSequence: number | undefined;
}

/** What all processes of one producer name have in common: who may send, by the answers that the claims had. */
export class ProducerName {
  readonly id: string;
  readonly topic: string;
  /** Claims that were asked for. */
  claimCount = 0;
  /** The highest epoch of a claim that was answered: every lower one is fenced from then on. */
  claimedEpoch = 0;
  readonly #epochs = new Set<number>();

  constructor(id: string, topic: string) {
    this.id = id;
    this.topic = topic;
  }

  claimed(epoch: number): void {
    assert.ok(!this.#epochs.has(epoch), `epoch ${epoch} of "${this.id}" was given to two processes`);
    this.#epochs.add(epoch);
    this.claimedEpoch = Math.max(this.claimedEpoch, epoch);
  }
}

/** The part of a run that a producer uses. */
export interface ProducerWorld {
  readonly reference: ReferenceModel;
  trace(text: string): void;
  count(event: 'duplicate' | 'refusal' | 'fenced' | 'repeatedClaim'): void;
  guard(check: () => void): void;
  /** Watches an answer of the broker. */
  expect<T>(what: string, answer: Promise<T>, check: (result: T) => void): void;
}

/** How far a process has come. An anonymous one is open from the start. */
type State =
  | { readonly kind: 'closed' }
  /** The claim is under way; the same number is sent again when its answer is lost. */
  | { readonly kind: 'claiming'; readonly claimId: number; readonly claimNumber: number }
  | { readonly kind: 'open'; readonly epoch: number; readonly claimNumber: number }
  /** Another process has taken the name: nothing more is sent. */
  | { readonly kind: 'fenced' }
  /** What was sent is still answered; nothing more is sent. */
  | { readonly kind: 'topicDeleted' };

/**
 * One process that produces for one topic, anonymous or under a name that other processes may take. After a crash of
 * the broker it goes on: a named one sends again what has no receipt.
 */
export class Producer {
  readonly name: ProducerName;
  readonly answeredIds = new Set<string>();
  readonly #world: ProducerWorld;
  readonly #mayBeRefused: boolean;
  #broker: Broker | undefined;
  #publisher: Publisher | undefined;
  #state: State;
  #unanswered: Batch[] = [];
  #unsent: Batch[] = [];
  #nextSequence = 1;
  #isWaiting = false;

  constructor(name: ProducerName, mayBeRefused: boolean, world: ProducerWorld) {
    this.name = name;
    this.#mayBeRefused = mayBeRefused;
    this.#world = world;
    this.#state = this.isNamed ? { kind: 'closed' } : { kind: 'open', epoch: 0, claimNumber: 0 };
  }

  get id(): string {
    return this.name.id;
  }

  get topic(): string {
    return this.name.topic;
  }

  get isNamed(): boolean {
    return this.id !== '';
  }

  get isFenced(): boolean {
    return this.#state.kind === 'fenced';
  }

  get unansweredCount(): number {
    return this.#unanswered.length;
  }

  /** The broker has started, for the first time or again. */
  connect(broker: Broker): void {
    this.#broker = broker;
    this.#publisher = broker.openPublisher(contextOf('test'));
    this.#isWaiting = false;
    if (!this.isNamed || this.isFenced) this.#unanswered = [];
    this.#unsent = [...this.#unanswered];
    if (this.#state.kind === 'closed') {
      this.name.claimCount += 1;
      this.#claim(this.name.claimCount * 1_000, this.name.claimCount);
    } else if (this.#state.kind === 'claiming') {
      this.#world.count('repeatedClaim');
      this.#claim(this.#state.claimId, this.#state.claimNumber);
    } else this.#send();
  }

  topicDeleted(): void {
    this.#state = { kind: 'topicDeleted' };
    this.#dropUnsent();
  }

  publish(drafts: readonly Draft[], partition: number | undefined): void {
    const batch: Batch = { drafts, partition, firstSequence: undefined };
    this.#unanswered.push(batch);
    this.#unsent.push(batch);
    this.#send();
  }

  #claim(claimId: number, claimNumber: number): void {
    this.#state = { kind: 'claiming', claimId, claimNumber };
    const claim = this.#broker!.openProducer(this.topic, this.id, { claimId, currentEpoch: undefined });
    this.#world.expect(`claim ${claimNumber} of "${this.id}"`, claim, ({ epoch, lastSequence }) => {
      this.#world.trace(`  "${this.id}" has epoch ${epoch} and goes on behind ${lastSequence}`);
      this.name.claimed(epoch);
      if (this.#state.kind !== 'claiming') return;
      this.#nextSequence = lastSequence + 1;
      this.#state = { kind: 'open', epoch, claimNumber };
      this.#send();
    });
  }

  #send(): void {
    if (this.#state.kind !== 'open' || this.#isWaiting || this.#unsent.length === 0) return;
    this.#isWaiting = true;
    const publisher = this.#publisher!;
    publisher.whenReady(() => {
      this.#isWaiting = false;
      const batch = this.#unsent.shift();
      if (batch === undefined) return;
      const isFencedAlready = this.#epoch < this.name.claimedEpoch;
      publisher.publish(this.#encode(batch), (error, receipt) => {
        // What a crashed broker still does is not visible to any client.
        if (publisher !== this.#publisher) return;
        this.#world.guard(() => this.#answered(batch, isFencedAlready, error, receipt));
      });
      this.#send();
    });
  }

  get #epoch(): number {
    return this.#state.kind === 'open' ? this.#state.epoch : 0;
  }

  #answered(
    batch: Batch,
    isFencedAlready: boolean,
    error: SluiceError | undefined,
    receipt: Receipt | undefined,
  ): void {
    const index = this.#unanswered.indexOf(batch);
    assert.ok(index >= 0, `a batch of "${this.id}" was answered twice`);
    this.#unanswered.splice(index, 1);
    if (this.#state.kind === 'topicDeleted') {
      const isGone =
        error === undefined || error.reason === 'TOPIC_DELETED' || error.reason === 'BACKLOG_FULL';
      assert.ok(isGone, `refused: ${error?.message}`);
      return;
    }
    if (error === undefined) {
      assert.ok(!isFencedAlready, `"${this.id}" was fenced, and its batch has a receipt`);
      this.#check(batch, receipt!);
    } else if (error.reason === 'PRODUCER_FENCED') this.#fenced();
    else {
      this.#world.count('refusal');
      assert.ok(this.#mayBeRefused && error.reason === 'BACKLOG_FULL', `refused: ${error.message}`);
    }
  }

  /** What is not sent yet never is. What was sent is answered: a refusal comes before the receipts of older batches. */
  #fenced(): void {
    if (this.#state.kind !== 'open') return;
    const { claimNumber } = this.#state;
    assert.ok(this.name.claimCount > claimNumber, `"${this.id}" is fenced, and no other process claimed it`);
    this.#world.count('fenced');
    this.#state = { kind: 'fenced' };
    this.#dropUnsent();
  }

  #dropUnsent(): void {
    this.#unanswered = this.#unanswered.filter((batch) => !this.#unsent.includes(batch));
    this.#unsent = [];
  }

  #encode(batch: Batch): PublishBatch {
    const { drafts, partition } = batch;
    if (this.isNamed && batch.firstSequence === undefined) {
      batch.firstSequence = this.#nextSequence;
      this.#nextSequence += drafts.length;
    }
    const { firstSequence } = batch;
    const producer =
      firstSequence === undefined ? undefined : { producerId: this.id, epoch: this.#epoch, firstSequence };
    return { topic: this.topic, partition, producer, ...encodeBatch(drafts) };
  }

  /** A receipt says where the messages are, once they are there; a repetition is there, too. */
  #check({ drafts }: Batch, { messageCount, duplicateCount, ranges }: Receipt): void {
    const { entries, ends } = this.#world.reference.topic(this.topic);
    this.#world.trace(`  receipt for ${drafts.map(({ id }) => id)}: ${JSON.stringify(ranges)}`);
    assert.equal(messageCount, drafts.length, 'messages of a receipt');
    const stored = ranges.flatMap(({ partition, first, last }) => {
      assert.ok(last < ends[partition]!, 'a receipt came before the commit');
      return entries[partition]!.slice(first, last + 1).map((entry) => decodeEntry(entry).id);
    });
    const fresh = drafts.slice(duplicateCount).map(({ id }) => id);
    assert.deepEqual(stored.toSorted(), fresh.toSorted(), 'the places that a receipt names');
    if (duplicateCount > 0) this.#checkDuplicates(drafts.slice(0, duplicateCount), entries);
    for (const { id } of drafts) this.answeredIds.add(id);
  }

  #checkDuplicates(drafts: readonly Draft[], entries: readonly (readonly Buffer[])[]): void {
    this.#world.count('duplicate');
    const storedIds = new Set(entries.flat().map((entry) => decodeEntry(entry).id));
    for (const { id } of drafts) assert.ok(storedIds.has(id), `${id} is said to be stored, and is not`);
  }
}
