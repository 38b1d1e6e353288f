import assert from 'node:assert/strict';
import type { SluiceError } from '../../src/base/errors.js';
import type { Broker, PublishBatch, Publisher, Receipt } from '../../src/broker/types.js';
import type { Books } from './books.js';
import { type Draft, decodeEntry, encodeBatch } from './messages.js';

interface Batch {
  readonly drafts: readonly Draft[];
  readonly partition: number | undefined;
  /** Undefined for an anonymous producer. */
  readonly firstSequence: number | undefined;
}

export interface ProducerServices {
  readonly books: () => Books;
  readonly trace: (text: string) => void;
  readonly count: (event: 'duplicate' | 'refusal') => void;
  readonly guard: (check: () => void) => void;
}

/** One producer of one topic, with or without a sequence. After a crash, one with a sequence sends again. */
export class Producer {
  readonly id: string;
  readonly topic: string;
  readonly answeredIds = new Set<string>();
  readonly #services: ProducerServices;
  readonly #mayBeRefused: boolean;
  #publisher: Publisher | undefined;
  #unanswered: Batch[] = [];
  #unsent: Batch[] = [];
  #nextSequence = 1;
  #isWaiting = false;

  constructor(id: string, topic: string, mayBeRefused: boolean, services: ProducerServices) {
    this.id = id;
    this.topic = topic;
    this.#mayBeRefused = mayBeRefused;
    this.#services = services;
  }

  get unansweredCount(): number {
    return this.#unanswered.length;
  }

  /** The broker has started, for the first time or again. */
  connect(broker: Broker): void {
    this.#publisher = broker.openPublisher('test');
    this.#isWaiting = false;
    if (this.id === '') this.#unanswered = [];
    this.#unsent = [...this.#unanswered];
    this.#send();
  }

  publish(drafts: readonly Draft[], partition: number | undefined): void {
    const firstSequence = this.id === '' ? undefined : this.#nextSequence;
    this.#nextSequence += drafts.length;
    const batch = { drafts, partition, firstSequence };
    this.#unanswered.push(batch);
    this.#unsent.push(batch);
    this.#send();
  }

  #send(): void {
    if (this.#isWaiting || this.#unsent.length === 0) return;
    this.#isWaiting = true;
    const publisher = this.#publisher!;
    publisher.whenReady(() => {
      this.#isWaiting = false;
      const batch = this.#unsent.shift()!;
      publisher.publish(this.#encode(batch), (error, receipt) => {
        // What a broker that has crashed still does is not seen by anybody.
        if (publisher !== this.#publisher) return;
        this.#services.guard(() => this.#answered(batch, error, receipt));
      });
      this.#send();
    });
  }

  #answered(batch: Batch, error: SluiceError | undefined, receipt: Receipt | undefined): void {
    const index = this.#unanswered.indexOf(batch);
    assert.ok(index >= 0, `a batch of "${this.id}" was answered twice`);
    this.#unanswered.splice(index, 1);
    if (error === undefined) {
      this.#check(batch, receipt!);
      return;
    }
    this.#services.count('refusal');
    assert.ok(this.#mayBeRefused && error.reason === 'BACKLOG_FULL', `refused: ${error.message}`);
  }

  #encode({ drafts, partition, firstSequence }: Batch): PublishBatch {
    const producer =
      firstSequence === undefined ? undefined : { producerId: this.id, epoch: 1, firstSequence };
    return { topic: this.topic, partition, producer, ...encodeBatch(drafts) };
  }

  /** A receipt says where the messages are, once they are there. */
  #check({ drafts }: Batch, { messageCount, duplicateCount, ranges }: Receipt): void {
    const { entries, ends } = this.#services.books().topic(this.topic);
    this.#services.trace(`  receipt for ${drafts.map(({ id }) => id)}: ${JSON.stringify(ranges)}`);
    if (duplicateCount > 0) this.#services.count('duplicate');
    assert.equal(messageCount, drafts.length, 'messages of a receipt');
    const stored = ranges.flatMap(({ partition, first, last }) => {
      assert.ok(last < ends[partition]!, 'a receipt came before the commit');
      return entries[partition]!.slice(first, last + 1).map((entry) => decodeEntry(entry).id);
    });
    const fresh = drafts.slice(duplicateCount).map(({ id }) => id);
    assert.deepEqual(stored.toSorted(), fresh.toSorted(), 'the places that a receipt names');
    for (const { id } of drafts) this.answeredIds.add(id);
  }
}
