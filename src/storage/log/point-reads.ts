import type { CursorState } from '../../base/positions.js';
import { decodeDeadLetter } from '../codec/dead-letter.js';
import { decodeProducer } from '../codec/producer.js';
import { DamagedRecord } from '../codec/record.js';
import { decodeRedrive } from '../codec/redrive.js';
import { unseal } from '../codec/sealed-value.js';
import { cursorsColumn, producersColumn } from '../engine/columns.js';
import type { Engine, KeyRange } from '../engine/engine.js';
import * as keys from '../engine/keys.js';
import type { DeadLetterNote, ProducerState } from '../types.js';
import { readCursors } from './cursor-reads.js';
import { undamaged } from './undamaged.js';

/** Small reads of committed records. They reject with DATA_LOSS if the database is damaged. */
export class PointReads {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async producer(topicId: number, producerId: string): Promise<ProducerState | undefined> {
    const key = keys.producerKey(topicId, producerId);
    const what = `producer "${producerId}" of topic ${topicId}`;
    const value = await this.#get(producersColumn, key, what);
    return value === undefined ? undefined : decodeProducer(value);
  }

  /** By partition, of a subscription of a topic with this number of partitions. */
  cursors(subscriptionId: number, partitionCount: number): Promise<Map<number, CursorState>> {
    return undamaged(`the cursors of subscription ${subscriptionId}`, async () => {
      const cursors = new Map<number, CursorState>();
      const reads = await readCursors(this.#engine, subscriptionId, partitionCount);
      for (const [partition, read] of reads.entries()) {
        if (read.kind === 'damaged') throw new DamagedRecord(read.why);
        if (read.state !== undefined) cursors.set(partition, read.state);
      }
      return cursors;
    });
  }

  /** By partition of the dead-letter topic. */
  async redrives(subscriptionId: number, deadLetterTopicId: number): Promise<Map<number, number>> {
    const offsets = new Map<number, number>();
    const range = keys.redriveRange(subscriptionId, deadLetterTopicId);
    const what = `how far subscription ${subscriptionId} has redriven topic ${deadLetterTopicId}`;
    for (const [key, value] of await this.#cursorEntries(range, what)) {
      offsets.set(keys.partitionOfRedriveKey(key), decodeRedrive(value));
    }
    return offsets;
  }

  async deadLetter(
    subscriptionId: number,
    partition: number,
    offset: number,
  ): Promise<DeadLetterNote | undefined> {
    const key = keys.deadLetterKey(subscriptionId, partition, offset);
    const what = `the dead-letter note of subscription ${subscriptionId}, partition ${partition}, offset ${offset}`;
    const value = await this.#get(cursorsColumn, key, what);
    if (value === undefined) return undefined;
    return { subscriptionId, partition, offset, ...decodeDeadLetter(value) };
  }

  async deadLetterOffsets(
    subscriptionId: number,
    partition: number,
    first: number,
    last: number,
    limit: number,
  ): Promise<number[]> {
    const range = keys.deadLetterRange(subscriptionId, partition, first, last);
    const what = `the dead-letter notes of subscription ${subscriptionId}, partition ${partition}`;
    const entries = await this.#cursorEntries(range, what, limit);
    return entries.map(([key]) => keys.offsetOfDeadLetterKey(key));
  }

  #get(column: number, key: Buffer, what: string): Promise<Buffer | undefined> {
    return undamaged(what, async () => {
      const sealed = this.#engine.get(column, key);
      return sealed === undefined ? undefined : unseal(key, sealed);
    });
  }

  /** Never many entries: one for each partition of a topic, or at most the given limit. */
  #cursorEntries(
    range: KeyRange,
    what: string,
    limit = Number.POSITIVE_INFINITY,
  ): Promise<[Buffer, Buffer][]> {
    return undamaged(what, async () => {
      const all: [Buffer, Buffer][] = [];
      const scan = this.#engine.scan(cursorsColumn, range);
      try {
        for (;;) {
          const entries = await scan.next(Math.min(1_000, limit - all.length));
          if (entries.length === 0) return all;
          for (const [key, sealed] of entries) all.push([key, unseal(key, sealed)]);
          if (all.length >= limit) return all;
        }
      } finally {
        await scan.close();
      }
    });
  }
}
