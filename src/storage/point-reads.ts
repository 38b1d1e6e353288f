import { SluiceError } from '../base/errors.js';
import type { CursorState } from '../base/positions.js';
import { decodeDeadLetter, decodeProducer } from './books-codec.js';
import { cursorsColumn, producersColumn } from './columns.js';
import { decodeCursor } from './cursor-codec.js';
import { type Engine, engineFault, engineMessage } from './engine.js';
import { cursorRange, deadLetterKey, partitionOfCursorKey, producerKey } from './keys.js';
import type { DeadLetterNote, ProducerState } from './types.js';

/** Small reads of what is committed. They reject with DATA_LOSS where the database is damaged. */
export class PointReads {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async producer(topicId: number, producerId: string): Promise<ProducerState | undefined> {
    const key = producerKey(topicId, producerId);
    const value = await undamaged('producers', () => this.#engine.get(producersColumn, key));
    return value === undefined ? undefined : decodeProducer(value);
  }

  /** By partition. */
  async cursors(subscriptionId: number): Promise<Map<number, CursorState>> {
    const cursors = new Map<number, CursorState>();
    const scan = this.#engine.scan(cursorsColumn, cursorRange(subscriptionId));
    try {
      for (;;) {
        // A subscription has few cursors: one for each partition of its topic.
        const entries = await undamaged('cursors', () => scan.next(1_000));
        if (entries.length === 0) return cursors;
        for (const [key, value] of entries) cursors.set(partitionOfCursorKey(key), decodeCursor(value));
      }
    } finally {
      await scan.close();
    }
  }

  async deadLetter(
    subscriptionId: number,
    partition: number,
    offset: number,
  ): Promise<DeadLetterNote | undefined> {
    const key = deadLetterKey(subscriptionId, partition, offset);
    const value = await undamaged('cursors', () => this.#engine.get(cursorsColumn, key));
    if (value === undefined) return undefined;
    return { subscriptionId, partition, offset, ...decodeDeadLetter(value) };
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
