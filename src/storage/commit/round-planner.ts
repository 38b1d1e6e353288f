import { limits } from '../../base/limits.js';
import type { SpareMemory } from '../../base/spare-memory.js';
import type { Append } from '../codec/append.js';
import type { ChangeTarget } from '../codec/change-target.js';
import { writeChange } from '../codec/changes.js';
import { encodeCounters } from '../codec/counters.js';
import { type CursorUpdate, writeCursor } from '../codec/cursor.js';
import { encodeExtent } from '../codec/extent.js';
import type { RecordOutline } from '../codec/record.js';
import { Run } from '../codec/run.js';
import { metadataColumn, partitionColumn } from '../engine/columns.js';
import type { KeyRange } from '../engine/engine.js';
import * as keys from '../engine/keys.js';
import type { PartitionLog } from '../log/partition-log.js';
import type { Transaction } from '../types.js';
import { RecordPlanner } from './record-planner.js';
import { type BuiltRound, RoundBuilder } from './round.js';
import type { Submission } from './submission.js';

export interface PlanContext {
  readonly nextTopicId: number;
  readonly nextSubscriptionId: number;
  /** See publish-clock.ts. */
  readonly publishTimeMs: number;
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
 * A round, as it is remembered until it is written and committed. Its messages are in the block. Of the submissions, and of
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
  const planner = new RoundPlanner(context);
  for (const submission of submissions) planner.add(submission);
  const growths = planner.finish();
  return {
    submitters: submissions.map(({ transaction: { onCommitted, onFailed } }) => ({ onCommitted, onFailed })),
    deletions: submissions.flatMap(({ deletions }) => deletions),
    isSynced: submissions.some(({ transaction }) => transaction.durability === 'synced'),
    byteLength: submissions.reduce((bytes, submission) => bytes + submission.byteLength, 0),
    growths,
    ...planner.round.build(context.memory),
  };
}

const none: readonly never[] = [];

class RoundPlanner implements ChangeTarget {
  readonly round = new RoundBuilder();
  readonly #context: PlanContext;
  readonly #touched = new Map<PartitionLog, RecordPlanner>();
  readonly #cursors = new Map<number, CursorUpdate>();
  readonly #deleted = new Set<PartitionLog>();
  /** The logs of the appends of the current submission, and how many of them have been added. */
  #appendLogs: readonly PartitionLog[] = none;
  #appendCount = 0;
  #hasUsedIds = false;

  constructor(context: PlanContext) {
    this.#context = context;
  }

  add(submission: Submission): void {
    this.#appendLogs = submission.appendLogs;
    this.#appendCount = 0;
    for (const change of submission.transaction.changes ?? none) writeChange(change, this);
    for (const log of submission.raisedLogs) {
      this.#plannerOf(log);
      this.clear(partitionColumn(log.partition), keys.logRangeBelow(log.topicId, log.firstOffset));
    }
    for (const log of submission.deletedLogs) {
      this.#deleted.add(log);
      this.delete(metadataColumn, keys.extentKey(log.topicId, log.partition));
      this.clear(partitionColumn(log.partition), keys.logRange(log.topicId, 0));
    }
    for (const key of submission.retiredDeletions) this.delete(metadataColumn, key);
  }

  /** Lays out what submissions share: cursors, records, extents and the next free ids. */
  finish(): readonly Growth[] {
    if (this.#hasUsedIds) this.put(metadataColumn, keys.countersKey, encodeCounters(this.#context));
    for (const cursor of this.#cursors.values()) writeCursor(cursor, this);
    const { publishTimeMs } = this.#context;
    const growths: Growth[] = [];
    for (const [log, planner] of this.#touched) {
      const firstOffset = log.plannedOffset;
      const growth = planGrowth(this.round, log, planner);
      if (growth.records.length > 0) {
        noteClock(log, firstOffset, publishTimeMs);
        growths.push(growth);
      }
      if (!this.#deleted.has(log)) planExtent(this.round, log);
    }
    return growths;
  }

  put(column: number, key: Buffer, value: Uint8Array): void {
    this.round.put(column, key, value);
  }

  delete(column: number, key: Buffer): void {
    this.round.delete(column, key);
  }

  clear(column: number, range: KeyRange): void {
    this.round.clear(column, range);
  }

  clearFirst(column: number, range: KeyRange): void {
    this.round.clearFirst(column, range);
  }

  append(append: Append): void {
    this.#plannerOf(this.#appendLogs[this.#appendCount++]!).add(append);
  }

  cursor(update: CursorUpdate): void {
    // Partition numbers are below 2^16.
    this.#cursors.set(update.subscriptionId * 2 ** 16 + update.partition, update);
  }

  idUsed(): void {
    this.#hasUsedIds = true;
  }

  #plannerOf(log: PartitionLog): RecordPlanner {
    let planner = this.#touched.get(log);
    if (planner === undefined) {
      const { publishTimeMs } = this.#context;
      planner = new RecordPlanner(log.partition, publishTimeMs, log.plannedOffset, log.plannedPosition);
      this.#touched.set(log, planner);
    }
    return planner;
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
