import { invariant } from '../../base/invariant.js';
import { metadataKey, metadataKind } from '../engine/keys.js';
import { LogTable, type PartitionLog } from '../log/partition-log.js';
import type { Recovered } from '../recovery/recovery.js';
import type { SyncedOffset } from '../recovery/synced-offsets.js';
import type { Append, CatalogTopic, Transaction } from '../types.js';
import { createSubmission, type Submission } from './submission.js';

/** Ids stay below the largest number, so that every range of keys has an end. */
const maxId = 2 ** 32 - 2;

const none: readonly never[] = [];

/**
 * Gives out ids and offsets at once, in the order of submission, which is the order of the commits. Knows the
 * partitions and subscriptions as of the last submission.
 */
export class Sequencer {
  readonly #maxPartitionCount: number;
  readonly #logs = new LogTable();
  readonly #subscriptionIds: Set<number>;
  #nextTopicId: number;
  #nextSubscriptionId: number;
  /** Notes of committed deletions, and notes that wait for `takeRetiredDeletions`. */
  #deletions: Buffer[];
  #retiring: Buffer[] = [];

  constructor(recovered: Recovered, maxPartitionCount: number) {
    this.#maxPartitionCount = maxPartitionCount;
    for (const { topicId, config } of recovered.topics.values()) {
      const extents = recovered.extents.get(topicId);
      this.#logs.grow(topicId, config.partitionCount, (partition) => extents?.get(partition));
    }
    this.#subscriptionIds = new Set(recovered.subscriptions.map(({ subscriptionId }) => subscriptionId));
    this.#nextTopicId = recovered.nextTopicId;
    this.#nextSubscriptionId = recovered.nextSubscriptionId;
    this.#deletions = [
      ...[...recovered.deletedTopicIds].map((id) => metadataKey(metadataKind.deletedTopic, id)),
      ...[...recovered.deletedSubscriptionIds].map((id) => metadataKey(metadataKind.deletedSubscription, id)),
    ];
  }

  get counters(): { readonly nextTopicId: number; readonly nextSubscriptionId: number } {
    return { nextTopicId: this.#nextTopicId, nextSubscriptionId: this.#nextSubscriptionId };
  }

  nextTopicId(): number {
    invariant(this.#nextTopicId <= maxId, 'the ids of topics are used up');
    return this.#nextTopicId++;
  }

  nextSubscriptionId(): number {
    invariant(this.#nextSubscriptionId <= maxId, 'the ids of subscriptions are used up');
    return this.#nextSubscriptionId++;
  }

  hasSubscription(subscriptionId: number): boolean {
    return this.#subscriptionIds.has(subscriptionId);
  }

  /** Throws if the topic or the partition does not exist. */
  log(topicId: number, partition: number): PartitionLog {
    return this.#logs.get(topicId, partition);
  }

  /** The logs of one partition number, over all topics that have it. */
  logsOf(partition: number): PartitionLog[] {
    return [...this.#logs].filter((log) => log.partition === partition);
  }

  /** Assigns offsets to the appends. Throws before it changes anything. */
  accept(transaction: Transaction): { submission: Submission; firstOffsets: readonly number[] } {
    const { appends = none, putTopics = none, putSubscriptions = none } = transaction;
    for (const topic of putTopics) this.#checkTopic(topic);
    for (const append of appends) this.#checkAppend(append, putTopics);

    for (const { topicId, config } of putTopics) this.#logs.grow(topicId, config.partitionCount);
    for (const { subscriptionId } of putSubscriptions) this.#subscriptionIds.add(subscriptionId);
    const appendLogs = appends.map(({ topicId, partition }) => this.#logs.get(topicId, partition));
    const firstOffsets = appends.map(({ count }, index) => {
      const log = appendLogs[index]!;
      log.nextOffset += count;
      return log.nextOffset - count;
    });
    return {
      submission: createSubmission(transaction, { appendLogs, ...this.#delete(transaction) }),
      firstOffsets,
    };
  }

  /** Undefined for a transaction without deletions, as nearly all are. */
  #delete({ deleteTopics = none, deleteSubscriptions = none }: Transaction) {
    if (deleteTopics.length + deleteSubscriptions.length === 0) return undefined;
    for (const id of deleteSubscriptions) this.#subscriptionIds.delete(id);
    return {
      deletedLogs: deleteTopics.flatMap((topicId) => this.#logs.delete(topicId)),
      deletions: [
        ...deleteTopics.map((id) => metadataKey(metadataKind.deletedTopic, id)),
        ...deleteSubscriptions.map((id) => metadataKey(metadataKind.deletedSubscription, id)),
      ],
    };
  }

  get hasDeletions(): boolean {
    return this.#deletions.length > 0;
  }

  deletionsWritten(keys: readonly Buffer[]): void {
    this.#deletions.push(...keys);
  }

  /** How far each partition is synced. Does not contain deletions that are committed by now. */
  syncedOffsets(): SyncedOffset[] {
    this.#retiring.push(...this.#deletions);
    this.#deletions = [];
    const offsets: SyncedOffset[] = [];
    for (const { topicId, partition, syncedOffset } of this.#logs) {
      if (syncedOffset > 0) offsets.push({ topicId, partition, endOffset: syncedOffset });
    }
    return offsets;
  }

  /** Notes of deletions that were committed before `syncedOffsets` was last called. */
  takeRetiredDeletions(): readonly Buffer[] {
    const retired = this.#retiring;
    this.#retiring = [];
    return retired;
  }

  #checkTopic({ topicId, config }: CatalogTopic): void {
    const { partitionCount } = config;
    invariant(topicId < this.#nextTopicId, `topic id ${topicId} was never given out`);
    invariant(
      partitionCount >= Math.max(1, this.#logs.partitionCount(topicId)) &&
        partitionCount <= this.#maxPartitionCount,
      `topic ${topicId} can't have ${partitionCount} partitions`,
    );
  }

  #checkAppend(
    { topicId, partition, chunks, count, byteLength }: Append,
    putTopics: readonly CatalogTopic[],
  ): void {
    const put = putTopics.find((topic) => topic.topicId === topicId);
    if (put === undefined || partition >= put.config.partitionCount) this.#logs.get(topicId, partition);
    let chunkBytes = 0;
    for (const chunk of chunks) chunkBytes += chunk.length;
    invariant(count >= 1 && chunkBytes === byteLength, 'an append is not what it says');
  }
}
