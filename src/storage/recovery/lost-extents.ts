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
import type { KnownEnds } from './known-ends.js';

type Extents = ReadonlyMap<number, ReadonlyMap<number, Extent>>;

export interface LostExtents {
  /** One line, for people, for each partition that has messages and no extent, or whose extent ends too early. */
  readonly faults: readonly string[];
  /** For a start that accepts the loss: the extents according to the records, cursors and notes of these partitions. */
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

/** What is known of partitions beside their extents and their messages. */
export interface LostExtentEvidence {
  /** According to cursors, and after `raiseByNotes` also according to everything else. */
  readonly ends: KnownEnds;
  readonly isDamaged: (topicId: number, partition: number) => boolean;
  /** Called if an extent is lost. Returns false if not all notes could be read. */
  readonly raiseByNotes: () => Promise<boolean>;
}

/**
 * Searches partitions without an extent for messages, damaged extents and cursors. Such a partition
 * would count as empty: its messages would be forgotten, and its offsets assigned again, below cursors that count
 * them as settled. One seek for each partition that never had a message. The same holds for an extent that ends
 * below a cursor, as after the loss of a part of the write-ahead log.
 */
export async function findLostExtents(
  engine: Engine,
  topics: ReadonlyMap<number, CatalogTopic>,
  extents: Extents,
  evidence: LostExtentEvidence,
): Promise<LostExtents> {
  const { lost, faults } = await findLost(engine, topics, extents, evidence);
  const found: LostExtents['found'][number][] = [];
  let areAllFound = faults.length === 0;
  const areNotesRead = lost.length === 0 || (await evidence.raiseByNotes());
  for (const { topicId, partition, hasRecords } of lost) {
    const knownEnd = evidence.ends.of(topicId, partition);
    const { what, extent } = hasRecords
      ? await fromRecords(engine, topicId, partition, knownEnd)
      : fromEnd(knownEnd, areNotesRead);
    faults.push(`the extent of partition ${partition} of topic ${topicId} is missing${what}`);
    if (extent === undefined) areAllFound = false;
    else found.push({ topicId, partition, extent });
  }
  for (const short of shortExtents(topics, extents, evidence.ends)) {
    const { topicId, partition, extent } = short;
    const storedEnd = extents.get(topicId)!.get(partition)!.endOffset;
    faults.push(
      `partition ${partition} of topic ${topicId} ends at offset ${storedEnd}, and a cursor says that it had messages up to offset ${extent.endOffset - 1}`,
    );
    found.push(short);
  }
  return { faults, found, areAllFound };
}

/** Extents that end below a cursor, as they must be: no offset is assigned again, and what is missing is `DATA_LOSS`. */
function shortExtents(
  topics: ReadonlyMap<number, CatalogTopic>,
  extents: Extents,
  ends: KnownEnds,
): LostExtents['found'][number][] {
  const short: LostExtents['found'][number][] = [];
  for (const topicId of topics.keys()) {
    for (const [partition, extent] of extents.get(topicId) ?? []) {
      const endOffset = ends.of(topicId, partition);
      if (endOffset > extent.endOffset) short.push({ topicId, partition, extent: { ...extent, endOffset } });
    }
  }
  return short;
}

interface LostPartition {
  readonly topicId: number;
  readonly partition: number;
  readonly hasRecords: boolean;
}

/** The partitions that have lost their extent, and faults for partitions that can't be searched. */
async function findLost(
  engine: Engine,
  topics: ReadonlyMap<number, CatalogTopic>,
  extents: Extents,
  { ends, isDamaged }: LostExtentEvidence,
): Promise<{ lost: LostPartition[]; faults: string[] }> {
  const faults: string[] = [];
  const lost: LostPartition[] = [];
  for (const [partition, topicIds] of partitionsWithoutExtent(topics, extents)) {
    try {
      const withRecords = new Set(await topicsWithRecords(engine, partition, topicIds));
      for (const topicId of topicIds) {
        const hasRecords = withRecords.has(topicId);
        const isLost = hasRecords || isDamaged(topicId, partition) || ends.of(topicId, partition) > 0;
        if (isLost) lost.push({ topicId, partition, hasRecords });
      }
    } catch (error) {
      if (!isDamage(error)) throw error;
      faults.push(`partition ${partition} can't be read where an extent is missing: ${engineMessage(error)}`);
    }
  }
  return { lost, faults };
}

/** What is lost, for people, and the rebuilt extent; undefined if it can't be rebuilt. */
interface Rebuilt {
  readonly what: string;
  readonly extent?: Extent;
}

async function fromRecords(
  engine: Engine,
  topicId: number,
  partition: number,
  knownEnd: number,
): Promise<Rebuilt> {
  const cannot = ", and can't be rebuilt from its first and last record";
  try {
    const extent = await extentOfRecords(engine, topicId, partition);
    if (extent.endOffset >= knownEnd) return { what: ': there are messages in it', extent };
    const what = `: there are messages in it up to offset ${extent.endOffset - 1}, and it had messages up to offset ${knownEnd - 1}`;
    return { what, extent: { ...extent, endOffset: knownEnd } };
  } catch (error) {
    if (!isDamage(error)) throw error;
    return { what: `${cannot}: ${engineMessage(error)}` };
  }
}

/** Of a partition without records: retention has removed all of them. */
function fromEnd(knownEnd: number, areNotesRead: boolean): Rebuilt {
  const cannot = ", and can't be rebuilt";
  if (knownEnd === 0) return { what: `${cannot}: nothing says how many messages it had` };
  if (!areNotesRead) return { what: `${cannot}: no message is left, and a note can't be read` };
  const extent = { ...emptyExtent, firstOffset: knownEnd, endOffset: knownEnd };
  return { what: `: it had messages up to offset ${knownEnd - 1}`, extent };
}

/** The extents of the store, and those that were rebuilt. */
export function withExtents(extents: Extents, found: LostExtents['found']): Extents {
  const all = new Map(extents);
  for (const { topicId, partition, extent } of found) {
    all.set(topicId, new Map(all.get(topicId)).set(partition, extent));
  }
  return all;
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
