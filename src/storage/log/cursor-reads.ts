import type { CursorState } from '../../base/positions.js';
import { decodeCursor } from '../codec/cursor.js';
import { DamagedRecord } from '../codec/record.js';
import { unseal } from '../codec/sealed-value.js';
import { cursorsColumn } from '../engine/columns.js';
import { damageMessage, type Engine, engineFault } from '../engine/engine.js';
import { cursorKey } from '../engine/keys.js';
import { wholeSealedValueOf } from './table-block.js';

/** A cursor that can't be read. */
export interface DamagedCursor {
  readonly kind: 'damaged';
  readonly why: string;
  /** The engine refuses the block of the cursor, and this is a whole record of it in the block. It may be an older one. */
  readonly inBlock: CursorState | undefined;
}

export type CursorRead = { readonly kind: 'read'; readonly state: CursorState | undefined } | DamagedCursor;

/**
 * The cursors of a subscription, by partition; undefined where there is none. Reads by key: a scan would also fail at a
 * damaged block that contains only older records of the same keys. Rejects if the disk fails to read.
 */
export async function readCursors(
  engine: Engine,
  subscriptionId: number,
  partitionCount: number,
): Promise<CursorRead[]> {
  const keys = Array.from({ length: partitionCount }, (_, partition) => cursorKey(subscriptionId, partition));
  try {
    const values = engine.getMany(cursorsColumn, keys);
    return keys.map((key, index) => readSealed(key, values[index]));
  } catch (error) {
    if (engineFault(error) !== 'corruption') throw error;
  }
  const reads: CursorRead[] = [];
  for (const key of keys) reads.push(await readOne(engine, key));
  return reads;
}

async function readOne(engine: Engine, key: Buffer): Promise<CursorRead> {
  try {
    return readSealed(key, engine.get(cursorsColumn, key));
  } catch (error) {
    if (engineFault(error) !== 'corruption') throw error;
    const block = await engine.readDamagedBlock(error);
    const value = block && wholeSealedValueOf(block, key);
    const inBlock = value && decodeCursor(value);
    return { kind: 'damaged', why: damageMessage(error), inBlock };
  }
}

function readSealed(key: Buffer, sealed: Buffer | undefined): CursorRead {
  try {
    return { kind: 'read', state: sealed && decodeCursor(unseal(key, sealed)) };
  } catch (error) {
    if (!(error instanceof DamagedRecord)) throw error;
    return { kind: 'damaged', why: error.message, inBlock: undefined };
  }
}
