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
  /**
   * False if an extent can't be rebuilt. A start that accepts the loss would count the partition as empty, and assign
   * the offsets of its messages again.
   */
  readonly areAllFound: boolean;
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
  let areAllFound = true;
  const notFound = (what: string, error: unknown) => {
    faults.push(`${what}: ${engineMessage(error)}`);
    areAllFound = false;
  };
  for (const [partition, topicIds] of partitionsWithoutExtent(topics, extents)) {
    let withRecords: number[] = [];
    try {
      withRecords = await topicsWithRecords(engine, partition, topicIds);
    } catch (error) {
      if (!isDamage(error)) throw error;
      notFound(`partition ${partition} can't be read where an extent is missing`, error);
    }
    for (const topicId of withRecords) {
      const what = `the extent of partition ${partition} of topic ${topicId} is missing`;
      faults.push(`${what}: there are messages in it`);
      try {
        found.push({ topicId, partition, extent: await extentOfRecords(engine, topicId, partition) });
      } catch (error) {
        if (!isDamage(error)) throw error;
        notFound(`${what}, and can't be rebuilt from its first and last record`, error);
      }
    }
  }
  return { faults, found, areAllFound };
}

function isDamage(error: unknown): boolean {
  return error instanceof DamagedRecord || engineFault(error) === 'corruption';
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

/** Of a partition that has records. */
async function extentOfRecords(engine: Engine, topicId: number, partition: number): Promise<Extent> {
  const range = logRange(topicId, 0);
  const first = await oneRecord(engine, partition, range, {});
  const last = await oneRecord(engine, partition, range, { isReverse: true });
  if (first === undefined || last === undefined)
    throw new DamagedRecord('its records can not be found again');
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
