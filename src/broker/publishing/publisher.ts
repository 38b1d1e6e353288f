import type { CallContext } from '../../base/call-context.js';
import type { Clock } from '../../base/clock.js';
import { SluiceError } from '../../base/errors.js';
import { topicNotNamed } from '../../base/shared-errors.js';
import { decideSequence } from '../../core/producer-sequence.js';
import type { Append, ProducerUpdate, Storage } from '../../storage/types.js';
import type { AdmissionGate, RefusingGate } from '../admission/admission-gate.js';
import type { FreeDiskWatch } from '../admission/free-disk-watch.js';
import type { PublishGate } from '../admission/publish-gate.js';
import type { HeldStream, TopicLine } from '../admission/topic-line.js';
import { storageFailed } from '../committer.js';
import type { Counters } from '../counters.js';
import type { Serving } from '../serving.js';
import { expectName } from '../topics/names.js';
import { checkPartition, type Topic, topicDeleted } from '../topics/topic.js';
import { defaultTopic, type TopicCatalog } from '../topics/topic-catalog.js';
import type { HoldReason, ProducerInfo, PublishBatch, PublishDone, Publisher, Receipt } from '../types.js';
import { claimDurability } from './open-producer.js';
import type { ProducerEntry, ProducerTable } from './producer-table.js';
import { routeBatch } from './route-batch.js';
import { sequenceRefusal } from './sequence-refusal.js';

export interface PublisherServices {
  readonly storage: Storage;
  readonly topics: TopicCatalog;
  readonly producers: ProducerTable;
  readonly gate: PublishGate;
  readonly disk: FreeDiskWatch;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly serving: Serving;
  /** The open streams of the broker. A publisher adds and removes itself. */
  readonly publishers: Set<StreamPublisher>;
}

/** One producer's stream. `Publisher` in types.ts is its contract. */
export class StreamPublisher implements Publisher, HeldStream {
  readonly #services: PublisherServices;
  readonly #context: CallContext;
  readonly #connectTimeMs: number;
  #topic: Topic | undefined;
  /** The line in which the stream waits at the gate. */
  #line: TopicLine;
  /** A batch is held, or waits for its producer's state: the next batch must not overtake it. */
  #isBusy = false;
  #isClosed = false;
  #ready: (() => void) | undefined;
  #stopWaiting: (() => void) | undefined;
  /** The callback of the batch that waits at a closed gate, if there is one. */
  #heldDone: PublishDone | undefined;
  #hold: { readonly reason: HoldReason; readonly sinceMs: number } | undefined;
  /** Releases the room that is kept for the next batch. May be called twice. */
  #releaseRoom: () => void = () => {};
  /** The size of the last request. */
  #requestBytes: number | undefined;
  #producerId = '';
  #messageCount = 0;
  #pendingBatchCount = 0;

  constructor(services: PublisherServices, context: CallContext) {
    this.#services = services;
    this.#context = context;
    this.#line = services.gate.lineOf(context.peer);
    this.#connectTimeMs = services.clock.wallMs();
    services.publishers.add(this);
  }

  get info(): ProducerInfo {
    const hold = this.#hold;
    return {
      topic: this.#topic?.name ?? '',
      producerId: this.#producerId,
      peer: this.#context.peer,
      connectTimeMs: this.#connectTimeMs,
      messageCount: this.#messageCount,
      pendingBatchCount: this.#pendingBatchCount,
      hold: hold && { reason: hold.reason, forMs: this.#services.clock.monotonicMs() - hold.sinceMs },
    };
  }

  whenReady(ready: () => void): void {
    if (this.#isClosed) return;
    if (this.#isBusy) {
      this.#ready = ready;
      return;
    }
    const { gate } = this.#services;
    this.#endHold();
    if (!gate.isClosedFor(this.#line)) {
      ready();
      return;
    }
    const line = this.#line;
    this.#beginHold(line.holdReason);
    line.held.add(this);
    this.#stopWaiting = gate.wait(
      line,
      (releaseRoom) => {
        line.held.delete(this);
        this.#endHold();
        this.#releaseRoom = releaseRoom;
        ready();
      },
      this.#requestBytes,
    );
  }

  holdReasonChanged(): void {
    this.#beginHold(this.#line.holdReason);
  }

  awaitReceipts(): void {
    if (!this.#isBusy) this.#beginHold('receipts');
  }

  publish(batch: PublishBatch, done: PublishDone): void {
    this.#releaseRoom();
    const { byteLength } = batch.source;
    this.#requestBytes = byteLength;
    this.#pendingBatchCount++;
    this.#messageCount += batch.bounds.length / 4;
    this.#producerId = batch.producer?.producerId ?? '';
    // The callback must not keep the batch: its memory is reused long before the commit.
    this.#publish(batch, (error, receipt) => {
      this.#pendingBatchCount--;
      this.#count(byteLength, receipt);
      done(error, receipt);
    });
  }

  #publish(batch: PublishBatch, done: PublishDone): void {
    try {
      this.#services.serving.check();
      const topic = this.#resolveTopic(batch);
      const closedGate = this.#closedGate(topic);
      if (closedGate !== undefined) {
        if (topic.config.backlogLimit.whenFull === 'reject') throw closedGate.refusal();
        this.#holdAt(closedGate, batch, done);
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
    this.#line.held.delete(this);
    this.#releaseRoom();
    this.#endHold();
    this.#services.publishers.delete(this);
  }

  #closedGate(topic: Topic): RefusingGate | undefined {
    const { disk } = this.#services;
    if (disk.isClosedStartingDueCheck()) return disk;
    return topic.backlog.isClosed ? topic.backlog : undefined;
  }

  #count(byteLength: number, receipt: Receipt | undefined): void {
    const { counters } = this.#services;
    if (receipt === undefined) {
      counters.refusedBatches++;
      return;
    }
    counters.publishedMessages += receipt.messageCount - receipt.duplicateCount;
    counters.duplicateMessages += receipt.duplicateCount;
    if (receipt.duplicateCount < receipt.messageCount) counters.publishedBytes += byteLength;
  }

  #endHold(): void {
    const hold = this.#hold;
    if (hold === undefined) return;
    const { clock, counters } = this.#services;
    counters.held.add(hold.reason, clock.monotonicMs() - hold.sinceMs);
    this.#hold = undefined;
  }

  #beginHold(reason: HoldReason): void {
    if (this.#hold?.reason === reason) return;
    this.#endHold();
    this.#hold = { reason, sinceMs: this.#services.clock.monotonicMs() };
  }

  /** The batch waits at the gate, and the stream is not read. */
  #holdAt(gate: AdmissionGate, batch: PublishBatch, done: PublishDone): void {
    this.#isBusy = true;
    this.#heldDone = done;
    this.#beginHold(gate.holdReason);
    this.#stopWaiting = gate.wait(() => {
      this.#isBusy = false;
      this.#heldDone = undefined;
      this.#endHold();
      this.#publish(batch, done);
      this.#readOn();
    });
  }

  async #loadAndStore(topic: Topic, batch: PublishBatch, done: PublishDone): Promise<void> {
    const { producers } = this.#services;
    const { producerId } = batch.producer!;
    this.#isBusy = true;
    try {
      expectName(producerId, 'producer');
      await producers.loadFor(topic.topicId, producerId, (entry) => {
        this.#services.serving.check();
        this.#store(topic, batch, entry, done);
      });
    } catch (error) {
      done(SluiceError.from(error), undefined);
    }
    this.#isBusy = false;
    this.#readOn();
  }

  /** Calls a waiting `ready` now, unless the batch is held again. */
  #readOn(): void {
    const ready = this.#ready;
    if (ready === undefined || this.#isBusy) return;
    this.#ready = undefined;
    this.whenReady(ready);
  }

  #resolveTopic(batch: PublishBatch): Topic {
    const { topic: name } = batch;
    const current = this.#topic;
    if (name === undefined || name === current?.name) {
      if (current === undefined) throw topicNotNamed();
      // The stream stays bound to the deleted topic, even if a new topic has taken its name.
      if (current.isDeleted) throw topicDeleted(current.name);
      return current;
    }
    const { topics, disk, gate } = this.#services;
    // Creating a topic writes to the disk too.
    if (topics.find(name) === undefined) disk.check();
    const topic = topics.forUse(name, () => checkFirstBatch(name, batch));
    this.#topic = topic;
    gate.remember(this.#context.peer, topic.line);
    return topic;
  }

  #store(topic: Topic, batch: PublishBatch, entry: ProducerEntry | undefined, done: PublishDone): void {
    if (topic.isDeleted) throw topicDeleted(topic.name);
    const count = batch.bounds.length / 4;
    const { producer } = batch;
    let skip = 0;
    let producerUpdate: ProducerUpdate | undefined;
    let { durability } = topic;
    if (producer !== undefined && entry !== undefined) {
      const decision = decideSequence(entry.state, { ...producer, count });
      if (decision.kind !== 'accept') throw sequenceRefusal(decision, producer, entry.state);
      skip = decision.skip;
      if (producer.epoch !== entry.state?.epoch) durability = claimDurability;
      producerUpdate = {
        kind: 'producer',
        topicId: topic.topicId,
        producerId: producer.producerId,
        ...decision.next,
      };
    }
    const producerId = producer?.producerId ?? '';
    const appends = routeBatch(topic, batch, skip, producerId);
    const storedCount = count - skip;
    let storedBytes = 0;
    for (const append of appends) storedBytes += append.byteLength;
    const { gate, storage } = this.#services;
    // The first batch of a newcomer counts as the newcomers' part of the queue.
    const line = this.#line === gate.newcomers ? this.#line : topic.line;
    let receipt: Receipt | undefined;
    // The callbacks must not keep the messages in memory: they are many, and the round has a copy.
    const firstOffsets = storage.submit({
      durability,
      changes: producerUpdate === undefined ? appends : [...appends, producerUpdate],
      onCommitted: () => {
        gate.committed(line, storedBytes);
        topic.backlog.committed(storedCount, storedBytes);
        if (entry !== undefined) entry.pendingCount--;
        done(undefined, receipt);
      },
      onFailed: (error) => done(storageFailed(error), undefined),
    });
    receipt = {
      messageCount: count,
      duplicateCount: skip,
      ranges: toRanges(appends, firstOffsets),
      durability,
    };
    this.#line = topic.line;
    gate.submitted(line, storedBytes);
    topic.backlog.submitted(storedCount, storedBytes);
    // Update the producer's state only after `submit` can no longer throw.
    if (entry !== undefined) {
      entry.pendingCount++;
      if (producerUpdate !== undefined) entry.state = producerUpdate;
    }
  }
}

/** Throws if a topic that was created for this batch would refuse it. */
function checkFirstBatch(topicName: string, { partition, producer, bounds }: PublishBatch): void {
  if (partition !== undefined) checkPartition(defaultTopic(topicName), partition);
  if (producer === undefined) return;
  expectName(producer.producerId, 'producer');
  const decision = decideSequence(undefined, { ...producer, count: bounds.length / 4 });
  if (decision.kind !== 'accept') throw sequenceRefusal(decision, producer, undefined);
}

function toRanges(appends: readonly Append[], firstOffsets: readonly number[]): Receipt['ranges'] {
  return appends.map(({ partition, count }, index) => {
    const first = firstOffsets[index]!;
    return { partition, first, last: first + count - 1 };
  });
}
