import { seal, unseal } from '../codec/sealed-value.js';
import { cursorsColumn, metadataColumn, producersColumn } from '../engine/columns.js';
import type { Engine } from '../engine/engine.js';
import { everything, keyBehind, metadataKind, migrationKey, storeKey } from '../engine/keys.js';
import { currentFormat } from './marker.js';

/** The store's identity as the database has it. */
export interface StoreIdentity {
  readonly format: number;
  /** Hexadecimal, 16 bytes. */
  readonly storeId: string;
}

/** Undefined in a database that was just created, or has a format before 2. Throws DamagedRecord. */
export async function readIdentity(engine: Engine): Promise<StoreIdentity | undefined> {
  const sealed = engine.get(metadataColumn, storeKey);
  if (sealed === undefined) return undefined;
  const value = unseal(storeKey, sealed);
  return { format: value.readUInt32BE(0), storeId: value.toString('hex', 4) };
}

/** Synced. Ends a migration. */
export function writeIdentity(engine: Engine, storeId: string): void {
  const value = Buffer.alloc(20);
  value.writeUInt32BE(currentFormat, 0);
  value.write(storeId, 4, 'hex');
  const batch = engine.batch();
  batch.put(metadataColumn, storeKey, seal(storeKey, value));
  batch.delete(metadataColumn, migrationKey);
  batch.write(true);
}

const migratedColumns = [metadataColumn, cursorsColumn, producersColumn];

/**
 * Migrates format 1 to 2: adds a checksum to every small record. Continues an interrupted migration: each batch
 * stores its progress. `writeIdentity` ends it. Calls `migrated` after each batch.
 */
export async function sealSmallRecords(
  engine: Engine,
  migrated: (count: number) => void = () => {},
  recordsAtOnce = 1_000,
): Promise<void> {
  const progress = engine.get(metadataColumn, migrationKey);
  const firstColumn = progress?.readUInt16BE(0) ?? migratedColumns[0]!;
  for (const column of migratedColumns.filter((each) => each >= firstColumn)) {
    const isContinued = column === firstColumn && progress !== undefined;
    const gte = isContinued ? keyBehind(progress.subarray(2)) : everything.gte;
    const scan = engine.scan(column, { ...everything, gte });
    try {
      for (;;) {
        const entries = await scan.next(recordsAtOnce);
        if (entries.length === 0) break;
        sealEntries(engine, column, entries);
        migrated(entries.length);
      }
    } finally {
      await scan.close();
    }
  }
}

/** In one batch: the records with their checksums, and the last key as the progress. */
function sealEntries(engine: Engine, column: number, entries: readonly [Buffer, Buffer][]): void {
  const batch = engine.batch();
  for (const [key, value] of entries) {
    if (column === metadataColumn && key[0] === metadataKind.migration) continue;
    batch.put(column, key, seal(key, value));
  }
  const [lastKey] = entries.at(-1)!;
  const reached = Buffer.alloc(2 + lastKey.length);
  reached.writeUInt16BE(column);
  reached.set(lastKey, 2);
  batch.put(metadataColumn, migrationKey, reached);
  batch.write(false);
}
