import { SluiceError } from '../base/errors.js';
import { endOnDefect } from '../base/invariant.js';
import { Sequencer } from './commit/sequencer.js';
import { engineFault, engineMessage } from './engine/engine.js';
import { acceptLoss } from './recovery/accepted-loss.js';
import { closeRefused, openDataDirectory } from './recovery/data-directory.js';
import { listFaults } from './recovery/faults.js';
import { writeIdentity } from './recovery/migration.js';
import type { Recovered } from './recovery/recovered.js';
import { clearDeleted, recover } from './recovery/recovery.js';
import { checkRoundNote, readBootId, writeRoundNote } from './recovery/round-note.js';
import { findMissing, readSyncedOffsets, syncedDataMissing } from './recovery/synced-offsets.js';
import { type DamageSite, describeDamage } from './recovery/table-damage.js';
import type { StorageServices } from './services.js';
import { Store } from './store.js';
import type { Storage, StorageOptions } from './types.js';

export { freeDiskBytes } from './engine/files.js';

/**
 * Opens the store of a data directory, or creates one. Rejects with:
 *
 * - INVALID_SETTING: the partition count was lowered;
 * - DATA_DIRECTORY_FOREIGN, _NEWER, _IN_USE or _UNUSABLE;
 * - SYNCED_DATA_MISSING: data that was synced is missing, and `acceptDataLoss` is not set;
 * - DATA_LOSS: files of the database, metadata or the identity of the store are damaged, and `acceptDataLoss` is not set
 *   or does not help.
 */
export async function openStorage(options: StorageOptions, services: StorageServices): Promise<Storage> {
  const startedAtMs = services.clock.monotonicMs();
  const { directory, maxPartitionCount, acceptDataLoss } = options;
  const { logger } = services;
  const opened = await openDataDirectory(directory, options, logger);
  const { engine, storeId, start, roundNotePath, syncedOffsetsPath } = opened;
  const paths = { databasePath: opened.databasePath, notePath: opened.tableDamagePath };
  let known: Recovered | undefined;
  try {
    const recovered = await recover(engine, () => readSyncedOffsets(syncedOffsetsPath));
    known = recovered;
    const { canBeAccepted } = recovered.lost;
    if (recovered.faults.length > 0 && !(acceptDataLoss && canBeAccepted)) {
      throw metadataDamaged(directory, recovered.faults, canBeAccepted);
    }
    const bootId = await readBootId();
    // Opening the database has synced everything in it.
    const syncedSequence = engine.sequence;
    const noted = await checkRoundNote(roundNotePath, { storeId, sequence: syncedSequence, bootId });
    const missing = [
      ...opened.missing,
      ...noted.missing,
      ...(await findMissing(syncedOffsetsPath, (topicId, partition) => {
        if (recovered.deletedTopicIds.has(topicId)) return undefined;
        return recovered.extents.get(topicId)?.get(partition)?.endOffset ?? 0;
      })),
    ];
    if (missing.length > 0 && !acceptDataLoss) throw syncedDataMissing(missing);
    const warnings = [...recovered.faults, ...missing];
    for (const line of warnings) logger.warn({ directory }, line);
    // Written before anything else: the note names the write-ahead log file of the next rounds.
    const note = {
      storeId,
      round: noted.round,
      writtenSequence: syncedSequence,
      syncedSequence,
      bootId,
      ...start,
    };
    await writeRoundNote(roundNotePath, note);
    if (!opened.hasIdentity) writeIdentity(engine, storeId);
    const kept = await acceptLoss(engine, recovered);
    await clearDeleted(engine, kept, maxPartitionCount);
    const storage = await Store.start(
      {
        engine,
        recovered: kept,
        noteFiles: { notePath: roundNotePath, databasePath: opened.databasePath, note },
        paths,
        syncedOffsetsPath,
        warnings,
      },
      options,
      services,
    );
    logger.info(
      {
        directory,
        topics: recovered.topics.size,
        subscriptions: recovered.subscriptions.length,
        openedInMs: Math.round(services.clock.monotonicMs() - startedAtMs),
      },
      'store opened',
    );
    return storage;
  } catch (error) {
    endOnDefect(error);
    const reported =
      known === undefined || engineFault(error) !== 'corruption'
        ? error
        : await describeOpeningDamage(error, known, { engine, ...paths }, maxPartitionCount);
    await closeRefused(engine, logger);
    throw reported;
  }
}

/** Opening starts a compaction. If that meets damage before opening has written everything, the write fails. */
function describeOpeningDamage(
  error: unknown,
  recovered: Recovered,
  site: Omit<DamageSite, 'logsOf'>,
  maxPartitionCount: number,
): Promise<SluiceError> {
  const sequencer = new Sequencer(recovered, maxPartitionCount);
  const logsOf = (partition: number) => sequencer.logsOf(partition);
  return describeDamage({ ...site, logsOf }, engineMessage(error));
}

function metadataDamaged(directory: string, faults: readonly string[], canBeAccepted: boolean): SluiceError {
  const orAccept = canBeAccepted ? ', or start without what is lost: --accept-data-loss' : '';
  return new SluiceError(
    'DATA_LOSS',
    `the metadata of the store in ${directory} is damaged: ${listFaults(faults)}. Restore the directory from a backup${orAccept}`,
  );
}
