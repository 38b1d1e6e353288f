import { SluiceError } from '../base/errors.js';
import type { CursorState } from '../base/positions.js';
import { decodeDeadLetter, decodeProducer } from './books-codec.js';
import { cursorsColumn, producersColumn } from './columns.js';
import { decodeCursor, decodeRedrive } from './cursor-codec.js';
import { type Engine, engineFault, engineMessage, type KeyRange } from './engine.js';
import * as keys from './keys.js';
import type { DeadLetterNote, ProducerState } from './types.js';

/** Small reads of what is committed. They reject with DATA_LOSS where the database is damaged. */
export class PointReads {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async producer(topicId: number, producerId: string): Promise<ProducerState | undefined> {
    const key = keys.producerKey(topicId, producerId);
    const value = await undamaged('producers', () => this.#engine.get(producersColumn, key));
    return value === undefined ? undefined : decodeProducer(value);
  }

  /** By partition. */
  async cursors(subscriptionId: number): Promise<Map<number, CursorState>> {
    const cursors = new Map<number, CursorState>();
    for (const [key, value] of await this.#cursorEntries(keys.cursorRange(subscriptionId))) {
      cursors.set(keys.partitionOfCursorKey(key), decodeCursor(value));
    }
    return cursors;
  }

  /** By partition of the dead-letter topic. */
  async redrives(subscriptionId: number, deadLetterTopicId: number): Promise<Map<number, number>> {
    const offsets = new Map<number, number>();
    for (const [key, value] of await this.#cursorEntries(
      keys.redriveRange(subscriptionId, deadLetterTopicId),
    )) {
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
    const value = await undamaged('cursors', () => this.#engine.get(cursorsColumn, key));
    if (value === undefined) return undefined;
    return { subscriptionId, partition, offset, ...decodeDeadLetter(value) };
  }

  /** One entry for each partition of a topic: never many. */
  async #cursorEntries(range: KeyRange): Promise<[Buffer, Buffer][]> {
    const all: [Buffer, Buffer][] = [];
    const scan = this.#engine.scan(cursorsColumn, range);
    try {
      for (;;) {
        const entries = await undamaged('cursors', () => scan.next(1_000));
        if (entries.length === 0) return all;
        all.push(...entries);
      }
    } finally {
      await scan.close();
    }
  }
}

async function undamaged<T>(what: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (engineFault(error) !== 'corruption') throw error;
    throw new SluiceError('DATA_LOSS', `the ${what} of the store are damaged: ${engineMessage(error)}`, {
      cause: error,
    });
  }
}
