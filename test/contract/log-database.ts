import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SpareMemory } from '../../src/base/spare-memory.js';
import { unseal } from '../../src/storage/codec/sealed-value.js';
import { LocalRoundLog } from '../../src/storage/commit/local-round-log.js';
import { RoundBuilder } from '../../src/storage/commit/round.js';
import type { AppendedRound } from '../../src/storage/commit/round-log.js';
import { metadataColumn } from '../../src/storage/engine/columns.js';
import { Engine } from '../../src/storage/engine/engine.js';
import { everything } from '../../src/storage/engine/keys.js';
import { decodeRoundNote, type RoundNote, writeRoundNote } from '../../src/storage/recovery/round-note.js';

/** A round that puts these entries. */
export function roundOf(entries: Readonly<Record<string, string>>): AppendedRound {
  const builder = new RoundBuilder();
  for (const [key, value] of Object.entries(entries)) {
    builder.put(metadataColumn, Buffer.from(key), Buffer.from(value));
  }
  return { ...builder.build(new SpareMemory(0)), isSynced: true };
}

/** A database with nothing but entries of rounds, and its local log. */
export class LogDatabase {
  readonly directory: string;
  readonly #engine: Engine;
  readonly log: LocalRoundLog;

  private constructor(directory: string, engine: Engine, log: LocalRoundLog) {
    this.directory = directory;
    this.#engine = engine;
    this.log = log;
  }

  static async create(): Promise<LogDatabase> {
    return await LogDatabase.open(await mkdtemp(join(tmpdir(), 'sluice-log-')));
  }

  static async open(directory: string): Promise<LogDatabase> {
    const databasePath = join(directory, 'db');
    const notePath = join(directory, 'last-round');
    await mkdir(databasePath, { recursive: true });
    const engine = await Engine.open(databasePath, 1);
    const note = existsSync(notePath) ? decodeRoundNote(await readFile(notePath))! : firstNote;
    await writeRoundNote(notePath, note);
    const log = await LocalRoundLog.start(engine, { databasePath, notePath, note });
    return new LogDatabase(directory, engine, log);
  }

  async contents(): Promise<Record<string, string>> {
    const scan = this.#engine.scan(metadataColumn, everything);
    const entries = await scan.next(100_000);
    await scan.close();
    return Object.fromEntries(entries.map(([key, value]) => [`${key}`, `${unseal(key, value)}`]));
  }

  /** After the log was closed. */
  async close(): Promise<void> {
    await this.#engine.close();
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true });
  }
}

const firstNote: RoundNote = {
  storeId: '0'.repeat(32),
  round: 0,
  writtenSequence: 0,
  syncedSequence: 0,
  bootId: '',
  firstLogNumber: 0,
  columnsLogNumber: 0,
};
