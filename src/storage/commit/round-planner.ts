import { limits } from '../../base/limits.js';
import type { SpareMemory } from '../../base/spare-memory.js';
import { encodeCursor, encodeRedrive } from '../codec/cursor-codec.js';
import {
  encodeCounters,
  encodeDeadLetter,
  encodeExtent,
  encodeProducer,
  encodeSubscription,
  encodeTopic,
} from '../codec/metadata-codec.js';
import type { RecordOutline } from '../codec/record.js';
import { Run } from '../codec/run.js';
import { cursorsColumn, metadataColumn, partitionColumn, producersColumn } from '../engine/columns.js';
import * as keys from '../engine/keys.js';
import type { PartitionLog } from '../log/partition-log.js';
import type { CursorUpdate, Transaction } from '../types.js';
import { RecordPlanner } from './record-planner.js';
import { type BuiltRound, RoundBuilder } from './round.js';
import type { Submission } from './submission.js';

export interface PlanContext {
  readonly nextTopicId: number;
  readonly nextSubscriptionId: number;
  /** See publish-clock.ts. */
  readonly publishTimeMs: number;
  /** False for a subscription that was deleted meanwhile: its cursor must not come back. */
  readonly hasSubscription: (subscriptionId: number) => boolean;
  readonly memory: SpareMemory;
}

/** What a round adds to one partition. */
export interface Growth {
  readonly log: PartitionLog;
  readonly endOffset: number;
  readonly endPosition: number;
  readonly records: readonly RecordOutline[];
}

/** The callbacks of a transaction. */
export interface Submitter {
  readonly onCommitted?: Transaction['onCommitted'];
  readonly onFailed?: Transaction['onFailed'];
}

/**
 * A round, as it is remembered until it is written. Its messages are in the block. Of the submissions, and of
 * their requests, only the callbacks are kept.
 */
export interface RoundPlan extends BuiltRound {
  /** In the order of submission. */
  readonly submitters: readonly Submitter[];
  /** Notes of the deletions of this transaction. */
  readonly deletions: readonly Buffer[];
  readonly isSynced: boolean;
  readonly byteLength: number;
  /** Their records are in the block, one after another. */
  readonly growths: readonly Growth[];
}

/**
 * Lays out one round: everything of these submissions, in order. Updates of one cursor are merged, and so are
 * appends to one partition.
 */
export function planRound(submissions: readonly Submission[], context: PlanContext): RoundPlan {
  const round = new RoundBuilder();
  const touched = new Map<PartitionLog, RecordPlanner>();
  const cursors = new Map<number, CursorUpdate>();
  const deleted = new Set<PartitionLog>();

  const plannerOf = (log: PartitionLog): RecordPlanner => {
    let planner = touched.get(log);
    if (planner === undefined) {
      planner = new RecordPlanner(
        log.partition,
        context.publishTimeMs,
        log.plannedOffset,
        log.plannedPosition,
      );
      touched.set(log, planner);
    }
    return planner;
  };

  for (const submission of submissions) {
    const { transaction, appendLogs } = submission;
    planMetadata(round, transaction, context);
    transaction.appends?.forEach((append, index) => {
      plannerOf(appendLogs[index]!).add(append);
    });
    for (const producer of transaction.producers ?? []) {
      const key = keys.producerKey(producer.topicId, producer.producerId);
      round.put(producersColumn, key, encodeProducer(producer));
    }
    for (const cursor of transaction.cursors ?? []) {
      // Partition numbers are below 2^16.
      cursors.set(cursor.subscriptionId * 2 ** 16 + cursor.partition, cursor);
    }
    for (const { subscriptionId, partition, first, last } of transaction.forgottenDeadLetters ?? []) {
      round.clear(cursorsColumn, keys.deadLetterRange(subscriptionId, partition, first, last));
    }
    for (const note of transaction.deadLetters ?? []) {
      const key = keys.deadLetterKey(note.subscriptionId, note.partition, note.offset);
      round.put(cursorsColumn, key, encodeDeadLetter(note));
    }
    for (const { subscriptionId, deadLetterTopicId, partition, offset } of transaction.redrives ?? []) {
      if (!context.hasSubscription(subscriptionId)) continue;
      const key = keys.redriveKey(subscriptionId, deadLetterTopicId, partition);
      round.put(cursorsColumn, key, encodeRedrive(offset));
    }
    for (const log of submission.raisedLogs) {
      plannerOf(log);
      round.clear(partitionColumn(log.partition), keys.logRangeBelow(log.topicId, log.firstOffset));
    }
    for (const log of submission.deletedLogs) {
      deleted.add(log);
      round.delete(metadataColumn, keys.extentKey(log.topicId, log.partition));
      round.clear(partitionColumn(log.partition), keys.logRange(log.topicId, 0));
    }
    for (const key of submission.retiredDeletions) round.delete(metadataColumn, key);
  }
  for (const cursor of cursors.values()) {
    if (!context.hasSubscription(cursor.subscriptionId)) continue;
    const key = keys.cursorKey(cursor.subscriptionId, cursor.partition);
    round.put(cursorsColumn, key, encodeCursor(cursor.state()));
  }
  const growths: Growth[] = [];
  for (const [log, planner] of touched) {
    const firstOffset = log.plannedOffset;
    const growth = planGrowth(round, log, planner);
    if (growth.records.length > 0) noteClock(log, firstOffset, context.publishTimeMs);
    if (growth.records.length > 0) growths.push(growth);
    if (!deleted.has(log)) planExtent(round, log);
  }
  return {
    submitters: submissions.map(({ transaction: { onCommitted, onFailed } }) => ({ onCommitted, onFailed })),
    deletions: submissions.flatMap(({ deletions }) => deletions),
    isSynced: submissions.some(({ transaction }) => transaction.durability === 'synced'),
    byteLength: submissions.reduce((bytes, submission) => bytes + submission.byteLength, 0),
    growths,
    ...round.build(context.memory),
  };
}

/** The catalog. A transaction that puts an entry also stores that its id is used. */
function planMetadata(round: RoundBuilder, transaction: Transaction, context: PlanContext): void {
  const { putTopics = [], putSubscriptions = [], deleteTopics = [], deleteSubscriptions = [] } = transaction;
  const { topic, subscription, deletedTopic, deletedSubscription } = keys.metadataKind;
  for (const put of putTopics)
    round.put(metadataColumn, keys.metadataKey(topic, put.topicId), encodeTopic(put));
  for (const put of putSubscriptions) {
    round.put(metadataColumn, keys.metadataKey(subscription, put.subscriptionId), encodeSubscription(put));
  }
  if (putTopics.length + putSubscriptions.length > 0) {
    round.put(metadataColumn, keys.countersKey, encodeCounters(context));
  }
  for (const id of deleteTopics) {
    round.delete(metadataColumn, keys.metadataKey(topic, id));
    round.put(metadataColumn, keys.metadataKey(deletedTopic, id), Buffer.alloc(0));
    round.clear(producersColumn, keys.producerRange(id));
  }
  for (const id of deleteSubscriptions) {
    round.delete(metadataColumn, keys.metadataKey(subscription, id));
    round.put(metadataColumn, keys.metadataKey(deletedSubscription, id), Buffer.alloc(0));
    round.clear(cursorsColumn, keys.subscriptionRange(id));
  }
}

function planGrowth(round: RoundBuilder, log: PartitionLog, planner: RecordPlanner): Growth {
  const drafts = planner.finish();
  for (const draft of drafts) {
    const lastOffset = draft.outline.firstOffset + draft.outline.count - 1;
    round.record(partitionColumn(log.partition), keys.logKey(log.topicId, lastOffset), draft);
    log.plannedOffset = lastOffset + 1;
  }
  log.plannedPosition = planner.position;
  const records = drafts.map(({ outline }) => outline);
  return { log, endOffset: log.plannedOffset, endPosition: log.plannedPosition, records };
}

/** Notes an offset where the publish times of the partition go back. Only the newest few are kept. */
function noteClock(log: PartitionLog, firstOffset: number, publishTimeMs: number): void {
  if (publishTimeMs < log.lastPublishTimeMs) {
    const kept = log.clockSteps.filter((offset) => offset > log.firstOffset);
    log.clockSteps = [...kept, firstOffset].slice(-limits.clockStepsKept);
  }
  log.lastPublishTimeMs = publishTimeMs;
}

/** In the same batch as the records: the next offset survives the removal of all records. */
function planExtent(round: RoundBuilder, log: PartitionLog): void {
  const extent = {
    firstOffset: log.firstOffset,
    endOffset: log.plannedOffset,
    firstPosition: log.firstPosition,
    endPosition: log.plannedPosition,
    lastPublishTimeMs: log.lastPublishTimeMs,
    clockSteps: log.clockSteps,
  };
  round.put(metadataColumn, keys.extentKey(log.topicId, log.partition), encodeExtent(extent));
}

/** The runs of a round whose block is back, for the tail. They share its memory. */
export function runsOfRound(
  plan: RoundPlan,
  block: ArrayBuffer,
): { readonly growth: Growth; readonly runs: readonly Run[] }[] {
  let recordIndex = 0;
  return plan.growths.map((growth) => {
    const runs: Run[] = [];
    for (const record of growth.records) {
      let at = plan.messagesAt[recordIndex++]!;
      let offset = record.firstOffset;
      for (const run of record.runs) {
        const messages = new Uint8Array(block, at, run.byteLength);
        runs.push(new Run(record.partition, offset, record.publishTimeMs, run, messages));
        at += run.byteLength;
        offset += run.count;
      }
    }
    return { growth, runs };
  });
}
