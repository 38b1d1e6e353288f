import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../base/clock.js';
import { limits } from '../../base/limits.js';
import { sealRecord } from '../codec/record.js';
import { sealInPlace } from '../codec/sealed-value.js';
import { Engine, engineFault, engineMessage } from '../engine/engine.js';
import { RoundNoteWriter } from '../recovery/round-note-writer.js';
import { type RoundBlock, visitRound } from './round.js';
import type { FromWriterThread, ToWriterThread, WriterThreadData } from './writer-protocol.js';

/**
 * The only thread that writes. A write blocks until it is on disk, which the main thread must not do. Rounds are
 * written in order. After a failed round, nothing is written.
 */
const port = parentPort!;
const { handle, columnNames, notePath, databasePath, note } = workerData as WriterThreadData;
const engine = await Engine.attach(handle, columnNames);
const roundNote = new RoundNoteWriter({
  path: notePath,
  databasePath,
  note,
  nowMs: () => systemClock.monotonicMs(),
  syncEveryMs: limits.syncedOffsetsEveryMs,
});
const batch = engine.batch();
let hasFailed = false;

function answer(message: FromWriterThread, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

async function write(round: RoundBlock, isSynced: boolean): Promise<void> {
  const clears: (() => Promise<void>)[] = [];
  const firstClears: (() => Promise<void>)[] = [];
  visitRound(round, {
    put(column, key, value) {
      sealInPlace(key, value);
      batch.put(column, key, value);
    },
    delete: (column, key) => batch.delete(column, key),
    record(column, key, value) {
      sealRecord(key, value);
      batch.put(column, key, value);
    },
    clear: (column, range) => clears.push(() => engine.clear(column, range)),
    clearFirst: (column, range) => firstClears.push(() => engine.clear(column, range)),
  });
  // A synced batch syncs the write-ahead log, and so these ranges too.
  for (const clear of firstClears) await clear();
  batch.write(isSynced);
  // The ranges that are cleared next are not synced, and must not count as synced.
  roundNote.roundWritten(engine.sequence, isSynced);
  for (const clear of clears) await clear();
}

/** Rounds that arrive during a `clear` wait here: one at a time, in order. */
let last = Promise.resolve();

async function handleRound(round: RoundBlock, isSynced: boolean): Promise<void> {
  if (hasFailed) return;
  try {
    await write(round, isSynced);
    answer({ kind: 'written', block: round.block }, [round.block]);
  } catch (error) {
    hasFailed = true;
    answer({
      kind: 'failed',
      message: engineMessage(error),
      isDamage: engineFault(error) === 'corruption',
    });
  }
}

function end(): void {
  if (!hasFailed) roundNote.close();
  port.close();
}

port.on('message', (message: ToWriterThread) => {
  if (message.kind === 'end') last = last.then(end);
  else last = last.then(() => handleRound(message, message.isSynced));
});
answer({ kind: 'ready' });
