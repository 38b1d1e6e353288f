import { type Extent, emptyExtent } from '../codec/extent.js';
import { DamagedRecord, type LogRecord, readRecord } from '../codec/record.js';
import { partitionColumn } from '../engine/columns.js';
import {
  type Engine,
  engineFault,
  engineMessage,
  type KeyRange,
  type ScanOptions,
} from '../engine/engine.js';
import { everything, logKey, logRange } from '../engine/keys.js';
import type { CatalogTopic } from '../types.js';

type Extents = ReadonlyMap<number, ReadonlyMap<number, Extent>>;

export interface LostExtents {
  /** One line, for people, for each partition that has messages and no extent. */
  readonly faults: readonly string[];
  /** For a start that accepts the loss: the extents according to the records of these partitions. */
  readonly found: readonly {
    readonly topicId: number;
    readonly partition: number;
    readonly extent: Extent;
  }[];
}

/**
 * Searches partitions without an extent for messages. Such a partition would count as empty: its messages would be
 * forgotten, and their offsets assigned again. One seek for each partition that never had a message.
 */
export async function findLostExtents(
  engine: Engine,
  topics: ReadonlyMap<number, CatalogTopic>,
  extents: Extents,
): Promise<LostExtents> {
  const faults: string[] = [];
  const found: LostExtents['found'][number][] = [];
  for (const [partition, topicIds] of partitionsWithoutExtent(topics, extents)) {
    try {
      for (const topicId of await topicsWithRecords(engine, partition, topicIds)) {
        faults.push(
          `the extent of partition ${partition} of topic ${topicId} is missing: there are messages in it`,
        );
        const extent = await extentOfRecords(engine, topicId, partition);
        if (extent !== undefined) found.push({ topicId, partition, extent });
      }
    } catch (error) {
      if (!(error instanceof DamagedRecord) && engineFault(error) !== 'corruption') throw error;
      faults.push(`partition ${partition} can't be read where an extent is missing: ${engineMessage(error)}`);
    }
  }
  return { faults, found };
}

/** Topic ids by partition, ascending. */
function partitionsWithoutExtent(
  topics: ReadonlyMap<number, CatalogTopic>,
  extents: Extents,
): Map<number, number[]> {
  const without = new Map<number, number[]>();
  for (const [topicId, { config }] of topics) {
    const known = extents.get(topicId);
    for (let partition = 0; partition < config.partitionCount; partition++) {
      if (known?.has(partition) === true) continue;
      const topicIds = without.get(partition) ?? [];
      topicIds.push(topicId);
      without.set(partition, topicIds);
    }
  }
  return without;
}

async function topicsWithRecords(
  engine: Engine,
  partition: number,
  topicIds: readonly number[],
): Promise<number[]> {
  const found: number[] = [];
  const scan = engine.scan(partitionColumn(partition), everything, { hasValues: false, batchBytes: 1 });
  try {
    for (const topicId of topicIds) {
      scan.seek(logKey(topicId, 0));
      const [entry] = await scan.next(1);
      if (entry === undefined) return found;
      if (entry[0].readUInt32BE(0) === topicId) found.push(topicId);
    }
    return found;
  } finally {
    await scan.close();
  }
}

async function extentOfRecords(
  engine: Engine,
  topicId: number,
  partition: number,
): Promise<Extent | undefined> {
  const range = logRange(topicId, 0);
  const first = await oneRecord(engine, partition, range, {});
  const last = await oneRecord(engine, partition, range, { isReverse: true });
  if (first === undefined || last === undefined) return undefined;
  return {
    ...emptyExtent,
    firstOffset: first.firstOffset,
    firstPosition: first.position,
    endOffset: last.lastOffset + 1,
    endPosition: last.runs.reduce((position, { messages }) => position + messages.length, last.position),
    lastPublishTimeMs: last.publishTimeMs,
  };
}

async function oneRecord(
  engine: Engine,
  partition: number,
  range: KeyRange,
  options: ScanOptions,
): Promise<LogRecord | undefined> {
  const scan = engine.scan(partitionColumn(partition), range, { ...options, batchBytes: 1 });
  try {
    const [entry] = await scan.next(1);
    return entry === undefined ? undefined : readRecord(entry[0], entry[1], partition);
  } finally {
    await scan.close();
  }
}
