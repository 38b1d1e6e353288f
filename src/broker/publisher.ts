import { SluiceError } from '../base/errors.js';
import { decideSequence } from '../core/producer-sequence.js';
import type { Storage } from '../storage/types.js';
import type { Catalog } from './catalog.js';
import { storageFailed } from './committer.js';
import type { ProducerEntry, ProducerTable } from './producer-table.js';
import type { PublishGate } from './publish-gate.js';
import { routeBatch } from './route-batch.js';
import { type Topic, topicDeleted } from './topic.js';
import type { PublishBatch, PublishDone, Publisher, Receipt } from './types.js';

export interface PublisherServices {
  readonly storage: Storage;
  readonly catalog: Catalog;
  readonly producers: ProducerTable;
  readonly gate: PublishGate;
  /** Throws when nothing may be published: draining, or the disk is nearly full. */
  readonly checkAccepting: () => void;
}

/** One producer's stream: see Publisher in types.ts for what it promises. */
export function createPublisher(services: PublisherServices): Publisher {
  return new StreamPublisher(services);
}

class StreamPublisher implements Publisher {
  readonly #services: PublisherServices;
  #topic: Topic | undefined;
  /** A batch is held, or waits for its producer's state: the next one must not overtake it. */
  #isBusy = false;
  #isClosed = false;
  #ready: (() => void) | undefined;
  #stopWaiting: (() => void) | undefined;
  /** Whom to tell of the batch that waits for the backlog, if there is one. */
  #heldDone: PublishDone | undefined;

  constructor(services: PublisherServices) {
    this.#services = services;
  }

  whenReady(ready: () => void): void {
    if (this.#isClosed) return;
    if (this.#isBusy) {
      this.#ready = ready;
      return;
    }
    this.#stopWaiting = this.#services.gate.pass(ready);
  }

  publish(batch: PublishBatch, done: PublishDone): void {
    try {
      this.#services.checkAccepting();
      const topic = this.#resolveTopic(batch.topic);
      if (topic.backlog.isFull) {
        if (topic.config.backlogLimit.whenFull === 'reject') throw topic.backlog.fullError();
        this.#hold(topic, batch, done);
        return;
      }
      if (batch.producer === undefined) {
        this.#store(topic, batch, undefined, done);
        return;
      }
      const entry = this.#services.producers.get(topic.topicId, batch.producer.producerId);
      if (entry !== undefined) this.#store(topic, batch, entry, done);
      else void this.#loadAndStore(topic, batch, done);
    } catch (error) {
      done(SluiceError.from(error), undefined);
    }
  }

  stop(error: SluiceError): void {
    this.close();
    const done = this.#heldDone;
    this.#heldDone = undefined;
    done?.(error, undefined);
  }

  close(): void {
    this.#isClosed = true;
    this.#ready = undefined;
    this.#stopWaiting?.();
  }

  /** The topic's slowest subscription is too far behind: this batch waits, and the stream is not read. */
  #hold(topic: Topic, batch: PublishBatch, done: PublishDone): void {
    this.#isBusy = true;
    this.#heldDone = done;
    this.#stopWaiting = topic.backlog.wait(() => {
      this.#isBusy = false;
      this.#heldDone = undefined;
      this.publish(batch, done);
      this.#readOn();
    });
  }

  async #loadAndStore(topic: Topic, batch: PublishBatch, done: PublishDone): Promise<void> {
    const { producers } = this.#services;
    const { producerId } = batch.producer!;
    this.#isBusy = true;
    try {
      await producers.load(topic.topicId, producerId);
      // It may have been forgotten again between the load and now.
      let entry = producers.get(topic.topicId, producerId);
      while (entry === undefined) {
        await producers.load(topic.topicId, producerId);
        entry = producers.get(topic.topicId, producerId);
      }
      this.#services.checkAccepting();
      this.#store(topic, batch, entry, done);
    } catch (error) {
      done(SluiceError.from(error), undefined);
    }
    this.#isBusy = false;
    this.#readOn();
  }

  /** Whoever asked to be called when there is room is served now, unless the batch is still held. */
  #readOn(): void {
    const ready = this.#ready;
    if (ready === undefined || this.#isBusy) return;
    this.#ready = undefined;
    this.whenReady(ready);
  }

  #resolveTopic(name: string | undefined): Topic {
    const current = this.#topic;
    if (name === undefined || name === current?.name) {
      if (current === undefined) {
        throw new SluiceError('INVALID_FIELD', 'the first request of a stream must name its topic', {
          field: 'topic',
        });
      }
      // Even if a new topic has the name by now: the producer thinks of the old one.
      if (current.isDeleted) throw topicDeleted(current.name);
      return current;
    }
    this.#topic = this.#services.catalog.topicForUse(name);
    return this.#topic;
  }

  #store(topic: Topic, batch: PublishBatch, entry: ProducerEntry | undefined, done: PublishDone): void {
    if (topic.isDeleted) throw topicDeleted(topic.name);
    const count = batch.bounds.length / 4;
    const { producer } = batch;
    let skip = 0;
    let producers: { topicId: number; producerId: string; epoch: number; lastSequence: number }[] | undefined;
    if (producer !== undefined && entry !== undefined && count > 0) {
      const decision = decideSequence(entry.state, { ...producer, count });
      if (decision.kind === 'fenced') throw producerFenced(producer, entry);
      if (decision.kind === 'gap') throw sequenceGap(producer, entry);
      skip = decision.skip;
      producers = [{ topicId: topic.topicId, producerId: producer.producerId, ...decision.next }];
    }
    const producerId = producer?.producerId ?? '';
    const appends = routeBatch(topic, batch, skip, producerId);
    const { durability } = topic;
    const storedCount = count - skip;
    let storedBytes = 0;
    for (const append of appends) storedBytes += append.byteLength;
    const firstOffsets = this.#services.storage.submit({
      durability,
      appends,
      ...(producers !== undefined && { producers }),
      onCommitted: () => {
        topic.backlog.committed(storedCount, storedBytes);
        if (entry !== undefined) entry.pendingCount--;
        const receipt: Receipt = {
          messageCount: count,
          duplicateCount: skip,
          ranges: appends.map((append, i) => ({
            partition: append.partition,
            first: firstOffsets[i]!,
            last: firstOffsets[i]! + append.count - 1,
          })),
          durability,
        };
        done(undefined, receipt);
      },
      onFailed: (error) => done(storageFailed(error), undefined),
    });
    topic.backlog.submitted(storedCount, storedBytes);
    // Only now, when nothing can refuse the batch any more, do the books move.
    if (entry !== undefined) {
      entry.pendingCount++;
      if (producers !== undefined) entry.state = producers[0];
    }
  }
}

function producerFenced(producer: NonNullable<PublishBatch['producer']>, entry: ProducerEntry): SluiceError {
  return new SluiceError(
    'PRODUCER_FENCED',
    `producer "${producer.producerId}" with epoch ${producer.epoch} was replaced by one with epoch ${entry.state?.epoch}`,
    { metadata: { epoch: String(entry.state?.epoch) } },
  );
}

function sequenceGap(producer: NonNullable<PublishBatch['producer']>, entry: ProducerEntry): SluiceError {
  const last = entry.state?.lastSequence ?? 0;
  return new SluiceError(
    'SEQUENCE_GAP',
    `producer "${producer.producerId}" sent sequence ${producer.firstSequence}, but ${last + 1} comes next: resume there`,
    { metadata: { lastSequence: String(last) } },
  );
}
