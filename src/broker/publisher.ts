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
  /** A producer's state is on its way from the disk: the next batch waits, so that the order stays. */
  #isLoading = false;
  #isClosed = false;
  #ready: (() => void) | undefined;
  #stopWaiting: (() => void) | undefined;

  constructor(services: PublisherServices) {
    this.#services = services;
  }

  whenReady(ready: () => void): void {
    if (this.#isClosed) return;
    if (this.#isLoading) {
      this.#ready = ready;
      return;
    }
    this.#stopWaiting = this.#services.gate.pass(ready);
  }

  publish(batch: PublishBatch, done: PublishDone): void {
    try {
      this.#services.checkAccepting();
      const topic = this.#resolveTopic(batch.topic);
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

  close(): void {
    this.#isClosed = true;
    this.#ready = undefined;
    this.#stopWaiting?.();
  }

  async #loadAndStore(topic: Topic, batch: PublishBatch, done: PublishDone): Promise<void> {
    const { producers } = this.#services;
    const { producerId } = batch.producer!;
    this.#isLoading = true;
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
    this.#isLoading = false;
    const ready = this.#ready;
    this.#ready = undefined;
    if (ready !== undefined) this.whenReady(ready);
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
    const firstOffsets = this.#services.storage.submit({
      durability,
      appends,
      ...(producers !== undefined && { producers }),
      onCommitted: () => {
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
