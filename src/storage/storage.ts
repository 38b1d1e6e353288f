import { openDataDirectory } from './data-directory.js';
import { clearDeleted, recover } from './recovery.js';
import { Store } from './store.js';
import { findMissing, syncedDataMissing } from './synced-offsets.js';
import type { Storage, StorageListener, StorageOptions, StorageServices } from './types.js';

export { freeDiskBytes } from './files.js';

/**
 * Opens the store of a data directory, or makes one. Rejects with INVALID_SETTING, DATA_DIRECTORY_FOREIGN, _NEWER,
 * _IN_USE or _UNUSABLE, with SYNCED_DATA_MISSING, or with DATA_LOSS when the database can't be opened at all.
 */
export async function openStorage(
  options: StorageOptions,
  listener: StorageListener,
  services: StorageServices,
): Promise<Storage> {
  const startedAtMs = services.clock.monotonicMs();
  const { engine, syncedOffsetsPath } = await openDataDirectory(options.directory, options.maxPartitionCount);
  try {
    const recovered = await recover(engine);
    const missing = await findMissing(syncedOffsetsPath, (topicId, partition) => {
      if (recovered.deletedTopicIds.has(topicId)) return undefined;
      return recovered.extents.get(topicId)?.get(partition)?.endOffset ?? 0;
    });
    if (missing.length > 0 && !options.acceptDataLoss) throw syncedDataMissing(missing);
    for (const line of missing) services.logger.warn({ directory: options.directory }, line);
    await clearDeleted(engine, recovered, options.maxPartitionCount);
    const storage = await Store.start(
      { engine, recovered, syncedOffsetsPath, warnings: missing },
      options,
      listener,
      services,
    );
    services.logger.info(
      {
        directory: options.directory,
        topics: recovered.topics.size,
        subscriptions: recovered.subscriptions.length,
        openedInMs: Math.round(services.clock.monotonicMs() - startedAtMs),
      },
      'store opened',
    );
    return storage;
  } catch (error) {
    await engine.close();
    throw error;
  }
}
