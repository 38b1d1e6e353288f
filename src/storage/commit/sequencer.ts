import { invariant } from '../../base/invariant.js';
import type { Append } from '../codec/append.js';
import type { Change } from '../codec/changes.js';
import type { SubscriptionDeletion } from '../codec/subscription.js';
import type { CatalogTopic, TopicDeletion } from '../codec/topic.js';
import { metadataKey, metadataKind } from '../engine/keys.js';
import { LogTable, type PartitionLog } from '../log/partition-log.js';
import type { Recovered } from '../recovery/recovered.js';
import type { SyncedOffset } from '../recovery/synced-offsets.js';
import type { Transaction } from '../types.js';
import { createSubmission, type Submission } from './submission.js';

/** Ids stay below the largest number, so that every range of keys has an end. */
const maxId = 2 ** 32 - 2;

const none: readonly never[] = [];

/** What the deletions of one transaction have removed. */
interface Deletion {
  readonly deletedLogs: PartitionLog[];
  readonly deletions: Buffer[];
}

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

  /** Throws if the topic or the partition does not exist. */
  log(topicId: number, partition: number): PartitionLog {
    return this.#logs.get(topicId, partition);
  }

  /** The logs of one partition number, over all topics that have it. */
  logsOf(partition: number): PartitionLog[] {
    return [...this.#logs].filter((log) => log.partition === partition);
  }

  /**
   * Assigns offsets to the appends. Drops what belongs to a subscription that was deleted before: its cursor must not
   * come back. Throws before it changes anything.
   */
  accept(transaction: Transaction): { submission: Submission; firstOffsets: readonly number[] } {
    const { changes = none } = transaction;
    for (let index = 0; index < changes.length; index++) this.#check(changes, index);

    const appendLogs: PartitionLog[] = [];
    const firstOffsets: number[] = [];
    let deletion: Deletion | undefined;
    let isBoundToEarlier = false;
    let hasOrphans = false;
    for (const change of changes) {
      switch (change.kind) {
        case 'append': {
          const log = this.#logs.get(change.topicId, change.partition);
          appendLogs.push(log);
          firstOffsets.push(log.nextOffset);
          log.nextOffset += change.count;
          break;
        }
        case 'topic':
          this.#logs.grow(change.topicId, change.config.partitionCount);
          break;
        case 'subscription':
          this.#subscriptionIds.add(change.subscriptionId);
          break;
        case 'delete-topic':
        case 'delete-subscription':
          deletion ??= { deletedLogs: [], deletions: [] };
          this.#delete(change, deletion);
          break;
        case 'dead-letter':
        case 'remove-dead-letters':
          isBoundToEarlier = true;
          hasOrphans ||= this.#isOrphan(change);
          break;
        default:
          hasOrphans ||= this.#isOrphan(change);
      }
    }
    const accepted = hasOrphans ? this.#withoutOrphans(transaction) : transaction;
    return {
      submission: createSubmission(accepted, { appendLogs, isBoundToEarlier, ...deletion }),
      firstOffsets,
    };
  }

  /** A record of a subscription that does not exist: the next start would refuse it. Each kind of change is named. */
  #isOrphan(change: Change): boolean {
    switch (change.kind) {
      case 'cursor':
      case 'redrive':
      case 'dead-letter':
      case 'remove-dead-letters':
        return !this.#subscriptionIds.has(change.subscriptionId);
      case 'append':
      case 'producer':
      case 'topic':
      case 'delete-topic':
      case 'subscription':
      case 'delete-subscription':
        return false;
    }
  }

  #withoutOrphans(transaction: Transaction): Transaction {
    return {
      ...transaction,
      changes: (transaction.changes ?? none).filter((change) => !this.#isOrphan(change)),
    };
  }

  #delete(change: TopicDeletion | SubscriptionDeletion, { deletedLogs, deletions }: Deletion): void {
    if (change.kind === 'delete-topic') {
      deletedLogs.push(...this.#logs.delete(change.topicId));
      deletions.push(metadataKey(metadataKind.deletedTopic, change.topicId));
    } else {
      this.#subscriptionIds.delete(change.subscriptionId);
      deletions.push(metadataKey(metadataKind.deletedSubscription, change.subscriptionId));
    }
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

  #check(changes: readonly Change[], index: number): void {
    const change = changes[index]!;
    if (change.kind === 'topic') this.#checkTopic(change);
    else if (change.kind === 'append') this.#checkAppend(change, changes, index);
  }

  /** The partition exists, or an earlier change of the transaction creates it. No earlier one deletes it. */
  #checkAppend(
    { topicId, partition, chunks, count, byteLength }: Append,
    changes: readonly Change[],
    index: number,
  ): void {
    let isCreated = false;
    for (let before = 0; before < index; before++) {
      const change = changes[before]!;
      if (change.kind === 'topic' && change.topicId === topicId) {
        isCreated = partition < change.config.partitionCount;
      } else if (change.kind === 'delete-topic') {
        invariant(change.topicId !== topicId, 'an append follows the deletion of its topic');
      }
    }
    if (!isCreated) this.#logs.get(topicId, partition);
    let chunkBytes = 0;
    for (const chunk of chunks) chunkBytes += chunk.length;
    invariant(count >= 1 && chunkBytes === byteLength, 'an append is not what it says');
  }
}
