import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Engine } from '../../src/storage/engine/engine.js';
import { readDatabaseStart } from '../../src/storage/recovery/database-check.js';
import { decodeRoundNote, writeRoundNote } from '../../src/storage/recovery/round-note.js';

/** Behind the store's back: only the record itself can tell. */
export async function change(
  directory: string,
  column: number,
  key: Buffer,
  how: 'alter' | 'remove',
): Promise<void> {
  const engine = await Engine.open(join(directory, 'db'), 4);
  const batch = engine.batch();
  const value = engine.get(column, key);
  assert(value !== undefined);
  value[0]! ^= 0x01;
  if (how === 'alter') batch.put(column, key, value);
  else batch.delete(column, key);
  batch.write(true);
  const path = join(directory, 'last-round');
  const note = decodeRoundNote(await readFile(path))!;
  await writeRoundNote(path, { ...note, ...(await readDatabaseStart(join(directory, 'db'))) });
  await engine.close();
}
